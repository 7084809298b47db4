"""IoU in time: intersection over union of the frames with truth and as many frames of the most positive relevance."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._regions import falling
from vxp.metrics._time import alike, frame_relevance, truth_frames


@metric("t-iou", family="localisation", better="higher", range=(0, 1), kinds=("heatmap3d",), truth=("mask",),
        undefined=("empty-truth", "full-truth", "constant-groups"),
        source="Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x",
        caveats=("Assumes that the model uses every frame of the truth and no other.",
                 "With few frames it takes few values: read it over many items."))
def t_iou(case: Case) -> Outcome:
    """Intersection over union of the n frames with truth and the n frames of the largest positive relevance (Jaccard 1912).

    Frames are ordered by q_t, the sum of the positive part of the map over frame t, ties by index. Range [0, 1], higher is
    better. Undefined where no frame has truth, where every frame has, and where all frames have one q_t.
    """
    inside = truth_frames(case, "t-iou")
    q, size = frame_relevance(case), inside.sum(1)
    within = (inside & (falling(q) < size[:, None])).sum(1)
    return outcome(within.double() / (2 * size - within).clamp_min(1), {
        "empty-truth": size == 0, "full-truth": inside.all(1), "constant-groups": alike(q)})
