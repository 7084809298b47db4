"""Discoverability- of 2022: how much the order of the frames changes without the least relevant fragments."""

from vxp.core import Case, Plan, metric
from vxp.metrics._disc import CAVEATS, LIMITS_2022, SOURCE_2022, UNDEFINED, plan_2022
from vxp.metrics._fragments import Mode2022


@metric("disc-minus-2022", family="faithfulness", better="lower", range=(0, 2), kinds=("temporal",), outputs=("sequence",),
        undefined=UNDEFINED, source=SOURCE_2022, limits=LIMITS_2022, caveats=CAVEATS)
def disc_minus_2022(case: Case, *, mode: Mode2022 = "single", fill: str = "zero") -> Plan:
    """Mean of 1 - tau_b between the scores of the frames and those without the least relevant fragments.

    As `disc-plus-2022` from the other end of the order. Range [0, 2], lower is better; `disc-minus-2024` is tau_b itself, where
    higher is. Undefined where `disc-plus-2022` is.
    """
    return (yield from plan_2022(case, "least", mode, fill))
