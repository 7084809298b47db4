"""Discoverability+ of 2024: how alike the order of the frames stays without the most relevant fragments."""

from vxp.core import Case, Plan, metric
from vxp.metrics._disc import CAVEATS, LIMITS_2024, SOURCE_2024, UNDEFINED, plan_2024
from vxp.metrics._fragments import Mode2024


@metric("disc-plus-2024", family="faithfulness", better="lower", range=(-1, 1), kinds=("temporal",), outputs=("sequence",),
        undefined=UNDEFINED, source=SOURCE_2024, limits=LIMITS_2024, caveats=CAVEATS, shows_inversion=True)
def disc_plus_2024(case: Case, *, rank: int = 1, mode: Mode2024 = "one-by-one", fill: str = "zero") -> Plan:
    """tau_b between the scores of the frames and those without the fragment of this rank, or without all up to it.

    `one-by-one`: the fragment of this rank alone; `sequential`: the `rank` first together. Range [-1, 1], lower is better;
    `disc-plus-2022` is a mean of 1 - tau_b, where higher is. Undefined where there are not more than 3 fragments, where all
    weights are equal, and where all compared scores of a row are.
    """
    return (yield from plan_2024(case, "most", rank, mode, fill))
