"""A medium: what the items of a task are made of, and what can stand where a part of one was removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vxp.catalogue import nearest
from vxp.errors import VxpError
from vxp.machine import sent


@dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation between the model's inputs and raw pixels: raw = inputs*std + mean."""

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def to_raw(self, inputs: Tensor, axes: int = 2) -> Tensor:
        """Raw pixels in [0, 1] of model inputs [..., C, *space], whose space has so many axes: 2 of an image, 3 of a clip."""
        mean, std = self._columns(inputs, axes)
        return inputs * std + mean

    def to_inputs(self, raw: Tensor, axes: int = 2) -> Tensor:
        """Model inputs of raw pixels [..., C, *space]."""
        mean, std = self._columns(raw, axes)
        return (raw - mean) / std

    def _columns(self, like: Tensor, axes: int) -> tuple[Tensor, Tensor]:
        mean, std = (sent(torch.tensor(v, dtype=like.dtype).view(-1, *[1] * axes), like.device) for v in (self.mean, self.std))
        return mean, std


RAW = Normalization()
"""Of inputs that are raw pixels."""


class Items(Protocol):
    """What a fill may look at of the items of a batch (`vxp.core.Batch`)."""

    @property
    def ids(self) -> tuple[str, ...]: ...
    @property
    def inputs(self) -> Tensor: ...
    @property
    def normalization(self) -> Normalization: ...
    @property
    def seed(self) -> int: ...
    @property
    def space(self) -> tuple[int, ...]: ...
    @property
    def positions(self) -> int: ...
    def raw(self) -> Tensor: ...
    def to_raw(self, inputs: Tensor) -> Tensor: ...
    def to_inputs(self, raw: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Painted:
    """A fill that depends on the item only: image(batch) is what it puts at every position, [B, C, *space] as inputs."""

    id: str
    image: Callable[[Items], Tensor]

    @property
    def whole(self) -> str:
        """The fill that an item shows of which nothing is left."""
        return self.id


@dataclass(frozen=True, eq=False)
class Imputed:
    """A fill that depends on what is left: impute(batch, items, removed) gives rows [N, C, *space] of these items (int64 [N])
    without the positions `removed`, bool [N, P]. whole: the fill of an item of which nothing is left."""

    id: str
    impute: Callable[[Items, Tensor, Tensor], Tensor]
    whole: str


@dataclass(frozen=True, eq=False)
class Shortened:
    """A fill that is none: whole frames of a clip are left out, so that it is shorter. whole: the fill of an item of which
    nothing is left."""

    id: str
    whole: str


Fill = Painted | Imputed | Shortened


@dataclass(frozen=True, eq=False)
class Medium:
    """axes: those of an item's positions, the slowest first; fills by their ids."""

    id: str
    axes: tuple[str, ...]
    fills: Mapping[str, Fill]

    def fill(self, id: str) -> Fill:
        """The fill of this id; VxpError for an unknown one."""
        if id not in self.fills:
            raise VxpError(f"no fill of {self.id}s is called {id!r}{nearest(id, list(self.fills))}; expected one of "
                           f"{', '.join(self.fills)}")
        return self.fills[id]

    @property
    def painted(self) -> tuple[str, ...]:
        """The fills that depend on the item only."""
        return tuple(id for id, fill in self.fills.items() if isinstance(fill, Painted))

    def image(self, id: str, batch: Items) -> Tensor:
        """What a fill puts at every position, [B, C, *space]; VxpError for an unknown one, and for one that depends on what is
        left."""
        found = self.fill(id)
        if isinstance(found, Shortened):
            raise VxpError(f"no fill image is called {id!r}; `{id}` leaves frames out, so it shows nothing in their place; "
                           f"expected one of {', '.join(self.painted)}")
        if isinstance(found, Imputed):
            raise VxpError(f"no fill image is called {id!r}; `{id}` imputes from what is left, so it only fills removed "
                           f"positions; expected one of {', '.join(self.painted)}")
        return found.image(batch)


def by_id(*fills: Fill) -> dict[str, Fill]:
    return {fill.id: fill for fill in fills}


__all__ = ["RAW", "Fill", "Imputed", "Items", "Medium", "Normalization", "Painted", "Shortened", "by_id"]
