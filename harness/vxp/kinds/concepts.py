"""What the named concepts of a task count for the target (clause [concepts])."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vxp.errors import VxpError
from vxp.kinds._types import Items, Kind, drawn
from vxp.media import CLIP, IMAGE


@dataclass(frozen=True, eq=False)
class Concepts(Kind):
    """Scores [B, K] of the K concepts that the task names, in its order."""

    @property
    def expected(self) -> str:
        return "a score for every concept of the task, in its order"

    def checked(self, found: Tensor, batch: Items, by: str) -> Tensor:
        scores, names = super().checked(found, batch, by), batch.concepts
        if not names:
            raise VxpError(f"{by}: the items have no concepts: give examples of them (bank=), or take a task that has them")
        if scores.shape[1] != len(names):
            raise VxpError(f"{by} returned {tuple(scores.shape)}, expected {(len(scores), len(names))}: a score for each of "
                           f"{', '.join(names)}")
        return scores

    def stand_in(self, batch: Items) -> Tensor:
        return drawn(len(batch.inputs), len(batch.concepts))


CONCEPTS = Concepts("concepts", (IMAGE, CLIP))

__all__ = ["CONCEPTS", "Concepts"]
