"""What explainers that change an image have in common: levels of 8 bits, the row of an image in levels, the class to reach."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp.core import Batch, VxpError
from vxp.core.perturb import own_levels, redrawn
from vxp.kinds import KindId
from vxp.models import evaluating

KINDS: tuple[KindId, ...] = ("counterfactual",)
LEVELS = 255


def foils_of(name: str, batch: Batch) -> Tensor:
    """int64 [B]: the class that each counterfactual is to reach. VxpError where the batch has none."""
    if batch.foils is None:
        raise VxpError(f"explainer {name!r} needs the class that a counterfactual is to reach, and these items have none: give "
                       "foils=, or take a task whose items have a foil")
    return batch.foils


def one_by_one(name: str, model: nn.Module, batch: Batch, change: Callable[[int, Tensor, Tensor], Tensor]) -> Tensor:
    """uint8 [B, C, H, W]: what `change` makes of each item alone, of its number, its levels and its foil, under gradients.
    VxpError for items without a foil."""
    foils, own = foils_of(name, batch), own_levels(batch)
    with evaluating(model), torch.enable_grad():
        return torch.stack([change(i, own[i], foils[i]) for i in range(len(batch))])


def as_input(batch: Batch, i: int, image: Tensor) -> Tensor:
    """The input [1, C, H, W] that the model is shown of an image uint8 [C, H, W] made of item i."""
    return redrawn(batch.inputs[i].detach(), image, batch.normalization)[None]


def descent(model: nn.Module, inputs: Tensor, foil: Tensor) -> tuple[bool, Tensor, Tensor]:
    """Of one input [1, C, H, W]: whether the model says the foil, the cross-entropy to it, and its gradient by the input."""
    leaf = inputs.detach().clone().requires_grad_()
    logits = model(leaf).float()
    loss = F.cross_entropy(logits, foil[None])
    (gradient,) = torch.autograd.grad(loss, leaf)
    return bool(logits.argmax(1) == foil), loss.detach(), gradient[0]
