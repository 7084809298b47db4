"""Sanity violation of 2024: at how many ranks the least relevant fragment matters more than the most relevant one."""

from vxp.core import Case, Plan, metric
from vxp.metrics._disc import SOURCE_2024, UNDEFINED, several_2024
from vxp.metrics._fragment_rows import FILLS, Several, scored
from vxp.metrics._fragments import RANKS, Mode2024
from vxp.metrics._fragments import sv_2024 as violations


@metric("sv-2024", family="faithfulness", better="lower", range=(0, 1), kinds=("temporal",), outputs=("sequence",),
        undefined=UNDEFINED, source=SOURCE_2024, limits={"mode": ("one-by-one", "sequential"), "fill": FILLS},
        caveats=("Four values per video: read it over many videos.",
                 "A tie is no violation, so a model that no fragment changes never violates; `sv-2022` counts ties.",
                 "An explanation of the mean score is judged by the order of the frames: see its explanandum."))
def sv_2024(case: Case, *, mode: Mode2024 = "one-by-one", fill: str = "zero") -> Plan:
    """The share of the ranks 1, 2 and 3 at which Disc- < Disc+ of 2024; range [0, 1], lower is better.

    Both are those of `disc-minus-2024` and `disc-plus-2024` with these parameters; up to 1e-9 they are equal, which is no
    violation. Undefined where one of the six is.
    """
    several: list[Several] = [("most", k) for k in several_2024(RANKS, mode)]
    several += [("least", k) for _, k in several]
    return (yield from scored(case, fill, lambda videos: violations(videos, mode=mode), needed=RANKS + 1, several=several))
