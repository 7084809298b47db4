"""Mu-fidelity: whether random sets of cells rank by the map as they rank by what the logit loses without them."""

from vxp.core import Case, Plan, SomeCells, Stream, metric, outcome
from vxp.core.perturb import FILLS
from vxp.metrics._correlation import spearman
from vxp.metrics._regions import mass_and_known_drop


@metric("mu-fidelity", family="faithfulness", better="higher", range=(-1, 1), undefined=("constant-map", "zero-variance"),
        source="Fel et al. 2021, arXiv:2111.04138 (after Bhatt et al. 2020, arXiv:2005.00631)",
        limits={"grid": (2, None), "samples": (2, None), "percent": (1, 99), "fill": FILLS},
        caveats=("Where the mass lies within a cell does not count: detail finer than the grid is not judged.",
                 "Ranks forget sizes: a map whose values are far from the contributions can score 1.",
                 "The estimate varies with the drawn subsets, the more the fewer there are.",
                 "Images without a fifth of their cells are out of distribution; the score depends on the fill."))
def mu_fidelity(case: Case, *, grid: int = 9, samples: int = 200, percent: int = 20, fill: str = "mean") -> Plan:
    """Spearman's correlation, over random subsets of cells, of the map's sum with the drop of the logit (Fel et al. 2021).

    Every subset has n = max(1, floor(percent*grid^2/100)) cells of a grid of grid x grid; ties share their mean rank,
    and a drop of at most 1e-6*max(1, |f(x)|) is 0. Range [-1, 1], higher is better. Undefined for a constant map, and
    where the sums or the drops are all alike. The paper's library draws each cell by itself, so that the subsets' sizes
    vary and rank by themselves; here all have one size.
    """
    n = max(1, percent * grid * grid // 100)
    subsets = [SomeCells(grid, Stream("mu-fidelity@1", "subset"), draw, n) for draw in range(samples)]
    value, still = spearman(*(yield from mass_and_known_drop(case, subsets, fill)))
    return outcome(value, {"constant-map": case.constant, "zero-variance": still})
