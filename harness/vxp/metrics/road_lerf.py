"""ROAD, least relevant first: the target's probability after noisy linear imputation."""

from vxp.core import Case, Plan, metric
from vxp.metrics._road import road


@metric("road-lerf", family="faithfulness", better="higher", range=(0, 1), undefined=("constant-map",), fills=("nli",),
        source="Rong et al. 2022, arXiv:2202.00449",
        limits={"readout": ("probability", "class-kept")},
        caveats=("Imputation is smooth, so the shape of the removed region can still give information away.",))
def road_lerf(case: Case, *, readout: str = "probability") -> Plan:
    """Mean target probability with 10, 20, ..., 90 % of the least relevant positions imputed (Rong et al. 2022).

    The k = floor(rate*P/100) least relevant positions, by rank, are replaced by noisy linear imputation (fill `nli`).
    readout `class-kept` is the share of rates at which the prediction is still the target. Range [0, 1], higher is
    better. Undefined for a constant map.

    The authors' code ranks as well, after noise of 1e-4 on the min-maxed map, so that ties fall at random, and its figure is
    the accuracy over a set. It removes what is left beside the share kept, up to one position more.
    """
    return (yield from road(case, "least", readout))
