"""Symmetric relevance gain: least-relevant-first area minus most-relevant-first area."""

from vxp.core import Case, Plan, metric
from vxp.core.perturb import FILLS, cuts
from vxp.metrics._curves import relevance_gain


@metric("srg", family="faithfulness", better="higher", range=(-1, 1), undefined=("constant-map",),
        source="Bluecher, Vielhaben and Strodthoff 2024, arXiv:2401.06654",
        shows_inversion=True, limits={"steps": (1, None), "fill": FILLS},
        caveats=("Both curves leave the distribution of natural images.",))
def srg(case: Case, *, steps: int = 224, fill: str = "mean") -> Plan:
    """Area of removal in rising order of relevance minus area in falling order (Bluecher et al. 2024).

    Both curves are the target's probability over the fraction removed, trapezoid rule, both endpoints. An order that
    carries no information scores 0 in expectation. Range [-1, 1], higher is better. Undefined for a constant map.
    """
    return (yield from relevance_gain(case, cuts(steps, case.batch.positions), fill))
