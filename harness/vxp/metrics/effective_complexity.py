"""Effective complexity: the share of positions that the map takes into account at all."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.kinds import MAPS


@metric("effective-complexity", family="complexity", better="lower", range=(0, 1), kinds=MAPS, undefined=("zero-map",),
        source="Nguyen and Martinez 2020, arXiv:2007.07584", limits={"threshold": (0, 1)},
        caveats=("A concise map can be wrong: never read it without a faithfulness score.",
                 "Depends on the threshold; a map with one outlier has few positions above any share of it."))
def effective_complexity(case: Case, *, threshold: float = 0.01) -> Outcome:
    """Share of positions whose absolute value exceeds `threshold` times the map's largest (Nguyen and Martinez 2020).

    Range [0, 1], lower is better. Undefined for a map that is zero everywhere. The paper asks how few features keep the
    expected loss within a bound, which takes the model; public code counts values above a number, and this is its form
    per map. Normalised by a batch's largest value, as one library does, the count depends on the neighbours.
    """
    size = case.map.flatten(1).double().abs()
    largest = size.amax(1, keepdim=True)
    return outcome((size > threshold * largest).double().mean(1), {"zero-map": (largest == 0).flatten()})
