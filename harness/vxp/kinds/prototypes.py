"""Where in an image each prototype of a model is found, and what that adds to the target (clause [prototypes])."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vxp.errors import VxpError
from vxp.kinds._types import Items, Kind, drawn
from vxp.media import IMAGE


@dataclass(frozen=True, eq=False)
class Prototypes(Kind):
    """Contributions [B, P, h, w] of P prototypes to the target at every cell of a grid that covers the input."""

    @property
    def expected(self) -> str:
        return "what every prototype adds to the target's logit at every cell, a plane for each prototype"

    def checked(self, found: Tensor, batch: Items, by: str) -> Tensor:
        planes = super().checked(found, batch, by)
        if not all(planes.shape[1:]):
            raise VxpError(f"{by} returned {tuple(planes.shape)}, expected one prototype and one cell at least")
        return planes

    def stand_in(self, batch: Items) -> Tensor:
        return drawn(len(batch.inputs), 2, 4, 4)


PROTOTYPES = Prototypes("prototypes", (IMAGE,))

__all__ = ["PROTOTYPES", "Prototypes"]
