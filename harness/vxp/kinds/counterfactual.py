"""An image like the item of which the model says something else (clause [counterfactual])."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vxp.errors import VxpError
from vxp.kinds._types import Items, Kind
from vxp.media import IMAGE


@dataclass(frozen=True, eq=False)
class Counterfactual(Kind):
    """Images uint8 [B, C, H, W] of the size of the model's input, in the levels of a file."""

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8

    @property
    def expected(self) -> str:
        return "the changed image in 8-bit levels, as large as the model's input"

    def checked(self, found: Tensor, batch: Items, by: str) -> Tensor:
        if isinstance(found, Tensor) and found.dtype != torch.uint8:
            raise VxpError(f"{by} returned {tuple(found.shape)} of {str(found.dtype).removeprefix('torch.')}, expected uint8: "
                           "changes below one level of 8 bits are lost when an image is saved. Round raw pixels to levels, "
                           "(raw * 255).round().clamp(0, 255).to(torch.uint8)")
        images = super().checked(found, batch, by)
        if images.shape != batch.inputs.shape:
            raise VxpError(f"{by} returned {tuple(images.shape)}, expected {tuple(batch.inputs.shape)}: {self.expected}")
        return images

    def stand_in(self, batch: Items) -> Tensor:
        return torch.full(batch.inputs.shape, 128, dtype=torch.uint8)


COUNTERFACTUAL = Counterfactual("counterfactual", (IMAGE,))

__all__ = ["COUNTERFACTUAL", "Counterfactual"]
