"""Derivatives along concept activation vectors, tested against vectors of permuted labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import check_at_least
from vxp_explainers._concepts import (
    KINDS,
    PENALTY,
    at_layer,
    centred,
    checked,
    labels,
    of_bank,
    once,
    permutation,
    ridge,
    unit,
)

PURPOSE = "cav-derivative@1"


@explainer("cav-derivative", signed=True, resample="none", needs=("gradients", "layer"), passes=2, family="concept",
kinds=KINDS,
           source="VXP, after Kim et al. 2018, arXiv:1711.11279")
def cav_derivative(
    model: nn.Module, batch: Batch, *, layer: str | None = None, pool: str = "none", penalty: float = PENALTY, nulls: int = 100,
    z: float = 3.0,
) -> Tensor:
    """How fast the target's centred logit rises along the unit direction of a concept; 0 where directions of permuted labels do
    as well.

    The direction is that of a ridge regression at the layer (a dotted module name, by default the last with spatial output;
    pool `none` takes all its positions, `mean` their mean), of examples with the concept against examples without it; penalty
    is in units of the mean squared length of an example. The derivative is the gradient, at the item, of the target's logit
    less the mean over the classes. It is compared with `nulls` regressions of the same examples with permuted labels: where it
    is no more than z standard deviations from their mean the score is 0; z 0 tests nothing. Returns [B, K] float32. Raises
    VxpError without examples, and for a layer that is unknown, not used or without spatial output.

    Where nothing but pooling and a linear head follows the layer the gradient is the same at every item: name an earlier layer.
    """
    bank = checked("cav-derivative", batch, pool, penalty=penalty, z=z)
    check_at_least("cav-derivative", 2, nulls=nulls)

    def fitted() -> Tensor:
        on, off = of_bank(model, batch, bank, layer, pool)
        return torch.stack([_directions(one, other, penalty, nulls, batch.seed, name)
                            for name, one, other in zip(bank.names, on, off, strict=True)])

    directions = once(model, batch, bank, ("cav-derivative", layer, pool, penalty, nulls), fitted)
    with evaluating(model):
        _, gradient = at_layer(model, batch, layer, pool, centred)
    slopes = torch.einsum("bd,kdp->bkp", gradient, directions).double()
    own, null = slopes[..., 0], slopes[..., 1:]
    beyond = (own - null.mean(2)).abs() > z * null.std(2)
    return torch.where(beyond, own, torch.zeros_like(own)).float()


def _directions(on: Tensor, off: Tensor, penalty: float, nulls: int, seed: int, name: str) -> Tensor:
    """The unit directions [D, 1 + nulls] float32 of a concept, and of its permuted labels."""
    told = labels(len(on), len(off), on.device)
    orders = [permutation(seed, name, PURPOSE, draw, len(told)).to(told.device) for draw in range(nulls)]
    return unit(ridge(torch.cat([on, off]), torch.stack([told, *(told[order] for order in orders)], 1), penalty)).float()
