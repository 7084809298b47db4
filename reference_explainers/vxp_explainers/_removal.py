"""What the model says of a clip without some of its positions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from vxp.core import Batch
from vxp.media import Imputed

from vxp_explainers._common import read, rows

Say = Callable[[int, Tensor], Tensor]
"""Of an item's index i and positions to remove, bool [N, *space] or what expands to that: float64 [N]."""


def saying(model: nn.Module, batch: Batch, fill: str, readout: str) -> Say:
    """The target's probability or logit, float64 [N], of an item without each of N sets of positions.

    They are replaced by any fill of the medium, also by one that imputes from what is left, such as `hold`. VxpError for an
    unknown fill.
    """
    leaving = without(batch, fill)

    def say(i: int, removed: Tensor) -> Tensor:
        return torch.cat([read(model, leaving(i, removed[part].expand(-1, *batch.space)), batch.targets[i], readout)
                          for part in rows(len(removed), batch.space)])

    return say


def without(batch: Batch, fill: str) -> Callable[[int, Tensor], Tensor]:
    """Rows [N, C, *space] of an item without the positions removed, bool [N, *space]."""
    found = batch.medium.fill(fill)
    if isinstance(found, Imputed):
        impute, numbers = found.impute, torch.arange(len(batch), device=batch.inputs.device)
        return lambda i, removed: impute(batch, numbers[i].expand(len(removed)), removed.flatten(1))
    image = batch.fill_image(fill)
    return lambda i, removed: torch.where(removed[:, None], image[i], batch.inputs[i])
