"""Sanity violation of 2022: whether the least relevant fragments matter as much as the most relevant ones."""

from vxp.core import Case, Plan, metric
from vxp.metrics._disc import LIMITS_2022, SOURCE_2022, UNDEFINED, several_2022
from vxp.metrics._fragment_rows import UNIT, scored
from vxp.metrics._fragments import Mode2022, needed_2022
from vxp.metrics._fragments import sv_2022 as violation


@metric("sv-2022", family="faithfulness", better="lower", range=(0, 1), binary=True, kinds=("temporal",), outputs=("sequence",),
        undefined=UNDEFINED, source=SOURCE_2022, limits=LIMITS_2022,
        caveats=("0 or 1 per video: the mean over videos is the share that the source prints.",
                 "A tie violates, so a model that no fragment changes violates always; `sv-2024` counts no tie.",
                 "An explanation of the mean score is judged by the order of the frames: see its explanandum."))
def sv_2022(case: Case, *, mode: Mode2022 = "single", fill: str = "zero") -> Plan:
    """1 where not Disc- < Disc+ of 2022, else 0; lower is better.

    Both are those of `disc-minus-2022` and `disc-plus-2022` with these parameters; up to 1e-9 they are equal, which violates.
    Undefined where either is.
    """
    several = several_2022(case.weights(UNIT).shape[1], mode)
    return (yield from scored(case, fill, lambda videos: violation(videos, mode=mode), needed=needed_2022(mode),
                              several=[("most", k) for k in several] + [("least", k) for k in several]))
