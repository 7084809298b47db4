"""Frame insertion: the target's probability while whole frames of a clip are shown, the most relevant first."""

from vxp.core import Case, Plan, metric
from vxp.metrics._curves import CLIP_FILLS, insertion_area
from vxp.metrics._time import alike, by_frame, frame_relevance


@metric("frame-insertion", family="faithfulness", better="higher", range=(0, 1), kinds=("heatmap3d",),
        undefined=("constant-groups",),
        source="Maenttaeri et al. 2020, arXiv:2002.00367 (freezing frames); Petsiuk, Das and Saenko 2018, arXiv:1806.07421",
        axis="share shown", limits={"fill": CLIP_FILLS},
        caveats=("Says when, and nothing of where.",
                 "Under `hold` the first frame that is shown makes a still clip: a model of single frames needs no more.",
                 "Rewards maps of one recognisable frame, whether or not the others were used."))
def frame_insertion(case: Case, *, fill: str = "hold") -> Plan:
    """Area under the target's probability while whole frames replace the fill, those of the largest positive relevance first.

    Frames come by q_t, the sum of the positive part of the map over frame t, ties by index; the curve has T + 1 points, the
    area is the trapezoid rule over k/T. Range [0, 1], higher is better. Undefined where all frames have one q_t. Under `hold`
    the last shown frame stands still until the next one, and before any is shown the clip carries the mean. Under `remove` the
    clip has the shown frames only, for models that take clips of any length.
    """
    undefined = {"constant-groups": alike(frame_relevance(case))}
    return (yield from insertion_area(case, range(case.batch.space[0] + 1), fill, undefined, order=by_frame(case)))
