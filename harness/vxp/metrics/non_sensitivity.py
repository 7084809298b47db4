"""Non-sensitivity: cells to which the map gives nothing although the model needs them, or the reverse."""

from torch import Tensor

from vxp.core import Case, Cell, Plan, metric, outcome
from vxp.core.perturb import FILLS
from vxp.metrics._regions import mass_and_known_drop


@metric("non-sensitivity", family="axioms", better="lower", range=(0, 1),
        source="Nguyen and Martinez 2020, arXiv:2007.07584",
        limits={"grid": (2, None), "mass": (0, 1), "drop": (0, 1), "fill": FILLS},
        caveats=("Says whether the zeros agree, nothing about the other values.",
                 "A network rarely ignores a cell altogether, so most maps without exact zeros score 0 or close to it.",
                 "A cell without effect on its own may matter together with others.",
                 "Depends on the tolerances below which a cell counts as nothing."))
def non_sensitivity(
    case: Case, *, grid: int = 4, mass: float = 0.01, drop: float = 0.01, fill: str = "mean"
) -> Plan:
    """Share of cells of which exactly one is nothing: the map's sum or the drop of the logit (Nguyen and Martinez 2020).

    Each of the grid x grid cells is removed alone. A sum is nothing if its size is at most `mass` times the mean size
    over the item's cells, a drop likewise with `drop`; a drop of at most 1e-6*max(1, |f(x)|) is 0. Range [0, 1], lower
    is better. Always defined. The paper counts single features with exact zeros, in all; here it is cells and a share,
    and the rows are those of single-deletion.
    """
    cells = [Cell(grid, index) for index in range(grid * grid)]
    held, lost = yield from mass_and_known_drop(case, cells, fill)
    return outcome((_nothing(held, mass) != _nothing(lost, drop)).double().mean(1))


def _nothing(values: Tensor, tolerance: float) -> Tensor:
    """bool [B, N]: at most `tolerance` times the mean size of the item's values [B, N]."""
    sizes = values.abs()
    return sizes <= tolerance * sizes.mean(1, keepdim=True)
