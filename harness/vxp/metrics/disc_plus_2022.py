"""Discoverability+ of 2022: how much the order of the frames changes without the most relevant fragments."""

from vxp.core import Case, Plan, metric
from vxp.metrics._disc import CAVEATS, LIMITS_2022, SOURCE_2022, UNDEFINED, plan_2022
from vxp.metrics._fragments import Mode2022


@metric("disc-plus-2022", family="faithfulness", better="higher", range=(0, 2), kinds=("temporal",), outputs=("sequence",),
        undefined=UNDEFINED, source=SOURCE_2022, limits=LIMITS_2022, caveats=CAVEATS, shows_inversion=True)
def disc_plus_2022(case: Case, *, mode: Mode2022 = "single", fill: str = "zero") -> Plan:
    """Mean of 1 - tau_b between the scores of the frames and those without the most relevant fragments.

    `single`: the first 5, each alone; `batch`: the first 1, 5, 10, 15 and 20 %, rounded up, together. Range [0, 2], higher is
    better; `disc-plus-2024` is tau_b itself, where lower is. Under `remove` the frames that are left are compared. Undefined
    where there are not more than 5 fragments (`batch`: than one), where all weights are equal, and where all compared scores of
    a row are.
    """
    return (yield from plan_2022(case, "most", mode, fill))
