"""Infidelity: how far the map, at its best scale, is from what the logit loses without random squares."""

import torch

from vxp.core import Case, Plan, Square, Stream, metric, outcome
from vxp.core.perturb import FILLS
from vxp.metrics._regions import scaled_side
from vxp.metrics._subsets import mass_and_drop_of


@metric("infidelity", family="faithfulness", better="lower", range=(0, None), undefined=("zero-map",),
        source="Yeh et al. 2019, arXiv:1901.09392", limits={"samples": (1, None), "fill": FILLS},
        caveats=("In squared units of the logit: compare explainers of one model only, and average over items with care, as "
                 "items with large drops outweigh the others.",
                 "The scale is fitted per item and may be negative: a map and its negative score the same.",
                 "Large squares dominate the mean, so it says little of fine detail.",
                 "Biased against the authors' number: large squares are drawn more often than they occur among all squares, "
                 "which makes scores larger however many are drawn.",
                 "Filled squares are out of distribution; the score depends on the fill."))
def infidelity(case: Case, *, samples: int = 200, fill: str = "mean") -> Plan:
    """Mean of (beta*r - d)^2 over random squares, r the map's sum, d the drop of the logit (Yeh et al. 2019).

    Squares have side 1 to 10 at 28 pixels, as in the authors' code, scaled with the shorter side (1 to 80 at 224);
    beta = E[r*d]/E[r^2] is the best scale, so that the map's own does not count. From 0, lower is better; at most
    E[d^2]. Undefined where E[r^2] = 0: no square holds mass, as in a map of zeros. The map is taken as contributions
    (the sum over the square, not the product with the change of the input), which is the authors' convention for
    squares. They go through all squares of all sides; here they are drawn.
    """
    side = scaled_side(10, 28, case)
    squares = [Square(Stream("infidelity@1", "square"), draw, side) for draw in range(samples)]
    mass, drop = yield from mass_and_drop_of(case, squares, fill)
    size = mass.square().mean(1)
    zero = size == 0
    beta = (mass * drop).mean(1) / torch.where(zero, torch.ones_like(size), size)
    return outcome((beta[:, None] * mass - drop).square().mean(1), {"zero-map": zero})
