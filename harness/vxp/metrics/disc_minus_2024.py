"""Discoverability- of 2024: how alike the order of the frames stays without the least relevant fragments."""

from vxp.core import Case, Plan, metric
from vxp.metrics._disc import CAVEATS, LIMITS_2024, SOURCE_2024, UNDEFINED, plan_2024
from vxp.metrics._fragments import Mode2024


@metric("disc-minus-2024", family="faithfulness", better="higher", range=(-1, 1), kinds=("temporal",), outputs=("sequence",),
        undefined=UNDEFINED, source=SOURCE_2024, limits=LIMITS_2024, caveats=CAVEATS)
def disc_minus_2024(case: Case, *, rank: int = 1, mode: Mode2024 = "one-by-one", fill: str = "zero") -> Plan:
    """tau_b between the scores of the frames and those without the fragment of this rank from the end, or all from it on.

    As `disc-plus-2024` from the other end of the order: rank 1 is the least relevant fragment. Range [-1, 1], higher is better;
    `disc-minus-2022` is a mean of 1 - tau_b, where lower is. Undefined where `disc-plus-2024` is.
    """
    return (yield from plan_2024(case, "least", rank, mode, fill))
