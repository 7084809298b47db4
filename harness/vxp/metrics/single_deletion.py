"""Single deletion: whether the cells of a grid rank by the map as they rank by what the logit loses without each."""

from vxp.core import Case, Cell, Plan, metric, outcome
from vxp.core.perturb import FILLS
from vxp.metrics._correlation import spearman
from vxp.metrics._regions import mass_and_known_drop


@metric("single-deletion", family="faithfulness", better="higher", range=(-1, 1),
        undefined=("constant-map", "zero-variance"),
        source="Hesse, Schaub-Meyer and Roth 2024, arXiv:2407.11910", limits={"grid": (2, None), "fill": FILLS},
        caveats=("Sixteen ranks by default: the score of one item is coarse, and detail finer than a cell is not judged.",
                 "Cells are removed one at a time: evidence that is there twice is not missed.",
                 "In-domain only for a model that was trained with such cells removed; for others the drop mixes what is lost "
                 "with the surprise of the fill."))
def single_deletion(case: Case, *, grid: int = 4, fill: str = "mean") -> Plan:
    """Spearman's correlation, over the cells of a grid, of the map's sum with the drop of the logit (Hesse et al. 2024).

    Each of the grid x grid cells is removed alone; ties share their mean rank, and a drop of at most
    1e-6*max(1, |f(x)|) is 0. Range [-1, 1], higher is better. Undefined for a constant map, and where the sums or the
    drops are all alike. To be called the in-domain score (IDSDS) only where the model declares that it was trained with
    cells removed. Where the authors' code leaves out the rows beyond a whole number of cells, our cells share them.
    """
    cells = [Cell(grid, index) for index in range(grid * grid)]
    value, still = spearman(*(yield from mass_and_known_drop(case, cells, fill)))
    return outcome(value, {"constant-map": case.constant, "zero-variance": still})
