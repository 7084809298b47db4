"""Pointing in time: whether the frame of the most positive relevance has truth."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._regions import falling
from vxp.metrics._time import alike, frame_relevance, truth_frames


@metric("t-pointing", family="localisation", better="higher", range=(0, 1), binary=True, kinds=("heatmap3d",), truth=("mask",),
        undefined=("empty-truth", "full-truth", "constant-groups"),
        source="Li et al. 2021 (STEP), arXiv:2109.00222 (temporal hits on spliced clips)",
        caveats=("Judges one frame only.",
                 "A frame that differs from the others draws maps that never saw the model: plant a second class beside it."))
def t_pointing(case: Case) -> Outcome:
    """1 where the frame of the largest positive relevance is one of those with truth, else 0 (Li et al. 2021).

    The frame is that of the largest q_t, the sum of the positive part of the map over frame t, the first of equal ones. Higher
    is better; a random order of frames scores the share of frames with truth in expectation. Undefined where no frame has
    truth, where every frame has, and where all frames have one q_t.
    """
    inside = truth_frames(case, "t-pointing")
    q = frame_relevance(case)
    hit = (inside & (falling(q) == 0)).any(1)
    return outcome(hit.double(), {"empty-truth": ~inside.any(1), "full-truth": inside.all(1), "constant-groups": alike(q)})
