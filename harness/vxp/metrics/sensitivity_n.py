"""Sensitivity-n: whether attributions of random subsets sum to what the logit loses, over subset sizes."""

import torch

from vxp.core import Case, Plan, Stream, metric, outcome
from vxp.core.perturb import FILLS
from vxp.metrics._subsets import mass_and_drop, pearson


@metric("sensitivity-n", family="faithfulness", better="higher", range=(-1, 1),
        undefined=("constant-map", "zero-variance"), source="Ancona et al. 2018, arXiv:1711.06104",
        limits={"sizes": (1, None), "samples": (2, None), "fill": FILLS},
        caveats=("Additive maps are favoured: a map that only ranks is judged by its scale.",
                 "Most of its sizes remove scattered pixels, which leaves an image far from the model's data."))
def sensitivity_n(case: Case, *, sizes: int = 6, samples: int = 100, fill: str = "mean") -> Plan:
    """Mean over subset sizes of the Pearson correlation of the map's sum with the drop of the logit (Ancona et al. 2018).

    Sizes are n_j = max(1, floor(4*P/(5*4^j))) for j = 0 to sizes - 1: 80 % of the P positions, 20 %, 5 %, and so on;
    per size `samples` random subsets of the one item. Range [-1, 1], higher is better; 1 for an exact attribution of
    a linear model. Undefined for a constant map, and where the logit does not change over the subsets of a size.
    """
    values, still = [], []
    for j in range(sizes):
        n = max(1, 4 * case.batch.positions // (5 * 4**j))
        mass, drop = yield from mass_and_drop(case, Stream("sensitivity-n@1", f"subset-{j}"), samples, n, fill)
        value, flat = pearson(mass, drop)
        values.append(value)
        still.append(flat)
    return outcome(torch.stack(values).mean(0), {"constant-map": case.constant, "zero-variance": torch.stack(still).any(0)})
