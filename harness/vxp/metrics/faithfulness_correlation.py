"""Faithfulness correlation: attribution mass of random subsets against the logit that is lost without them."""

from vxp.core import Case, Plan, Stream, metric, outcome
from vxp.core.perturb import FILLS
from vxp.metrics._subsets import mass_and_drop, pearson


@metric("faithfulness-correlation", family="faithfulness", better="higher", range=(-1, 1),
        undefined=("constant-map", "zero-variance"), source="Bhatt, Weller and Moura 2020, arXiv:2005.00631",
        limits={"samples": (2, None), "percent": (1, 99), "fill": FILLS},
        caveats=("Additive maps are favoured: a map that only ranks is judged by its scale.",
                 "Scattered small subsets change a network's output little, so the correlation is small and noisy."))
def faithfulness_correlation(case: Case, *, samples: int = 100, percent: int = 10, fill: str = "mean") -> Plan:
    """Pearson correlation over random subsets of the map's sum and of the drop of the target's logit (Bhatt et al. 2020).

    Each subset has max(1, floor(P*percent/100)) of the P positions. Range [-1, 1], higher is better. Undefined for a
    constant map, and where the logit does not change over the subsets. The paper leaves the size open; much smaller
    subsets change the output so little that rounding takes part in the score.
    """
    P = case.batch.positions
    n = max(1, P * percent // 100)
    mass, drop = yield from mass_and_drop(case, Stream("faithfulness-correlation@1", "subset"), samples, n, fill)
    value, still = pearson(mass, drop)
    return outcome(value, {"constant-map": case.constant, "zero-variance": still})
