"""Frame deletion: the target's probability while whole frames of a clip are removed, the most relevant first."""

from vxp.core import Case, Plan, metric
from vxp.metrics._curves import CLIP_FILLS, deletion_area
from vxp.metrics._time import alike, by_frame, frame_relevance


@metric("frame-deletion", family="faithfulness", better="lower", range=(0, 1), kinds=("heatmap3d",),
        undefined=("constant-groups",),
        source="Maenttaeri et al. 2020, arXiv:2002.00367 (freezing frames); Petsiuk, Das and Saenko 2018, arXiv:1806.07421",
        limits={"fill": CLIP_FILLS},
        caveats=("Says when, and nothing of where.",
                 "Under `hold` the frame before it stands in for a removed one: where neighbours look alike, nothing is lost.",
                 "The curve begins at the probability of the clip itself: compare maps of the same items only."))
def frame_deletion(case: Case, *, fill: str = "hold") -> Plan:
    """Area under the target's probability while whole frames are replaced, those of the largest positive relevance first.

    Frames go by q_t, the sum of the positive part of the map over frame t, ties by index; the curve has T + 1 points, the area
    is the trapezoid rule over k/T. Range [0, 1], lower is better. Undefined where all frames have one q_t. Under `hold` the
    last kept frame stands still (the freeze of Maenttaeri et al. 2020, who never replace frame 0: here it takes the first kept
    one). Under `remove` the clip is shorter, for models that take clips of any length.
    """
    undefined = {"constant-groups": alike(frame_relevance(case))}
    return (yield from deletion_area(case, range(case.batch.space[0] + 1), fill, undefined, order=by_frame(case)))
