"""What is explained: some items of a task as the model takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vxp.machine import sent
from vxp.media import RAW, Medium, Normalization, of_axes


@dataclass(frozen=True, eq=False)
class Batch:
    """Some items of a task as the model takes them.

    inputs [B, C, *space] float, space (H, W) of images and (T, H, W) of clips; targets int64 [B], the explained class of every
    item, known and frozen before any perturbation (items of which it is not known yet are `vxp.tasks.Loaded`, and no batch);
    ids name the items (they key every random draw, so a score does not depend on an item's neighbours); clusters name what is
    resampled in statistics (photo, stamp, video); truth maps a key (mask, cells, ...) to bool or float [B, *space],
    which only the oracles and the localisation metrics look at.
    """

    ids: tuple[str, ...]
    inputs: Tensor
    targets: Tensor
    normalization: Normalization = RAW
    seed: int = 0
    truth: Mapping[str, Tensor] = field(default_factory=dict)
    clusters: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def raw(self) -> Tensor:
        """The inputs as raw pixels in [0, 1]."""
        return self.to_raw(self.inputs)

    def to_raw(self, inputs: Tensor) -> Tensor:
        """Raw pixels in [0, 1] of inputs [..., C, *space] of these items."""
        return self.normalization.to_raw(inputs, len(self.space))

    def to_inputs(self, raw: Tensor) -> Tensor:
        """Inputs of raw pixels [..., C, *space]."""
        return self.normalization.to_inputs(raw, len(self.space))

    def fill_image(self, fill: str) -> Tensor:
        """What a fill puts at every position, [B, C, *space] as inputs; VxpError for an unknown one, and for one that depends
        on what is left."""
        return self.medium.image(fill, self)

    @property
    def medium(self) -> Medium:
        """What the items are made of."""
        return of_axes(len(self.space))

    @property
    def space(self) -> tuple[int, ...]:
        """The input grid, (H, W) or (T, H, W); its product is P, the number of positions."""
        return tuple(self.inputs.shape[2:])

    @property
    def positions(self) -> int:
        return int(self.inputs[0, 0].numel())

    def select(self, index: Sequence[int], inputs: Tensor | None = None) -> Batch:
        """The items at these places, in this order; with other inputs, where they are given."""
        where = sent(torch.tensor(list(index), dtype=torch.long), self.inputs.device)
        return replace(
            self,
            ids=tuple(self.ids[i] for i in index),
            inputs=self.inputs[where] if inputs is None else inputs,
            targets=self.targets[where],
            truth={key: value[where] for key, value in self.truth.items()},
            clusters=tuple(self.clusters[i] for i in index) if self.clusters else (),
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same items on a device."""
        return replace(
            self,
            inputs=sent(self.inputs, device),
            targets=sent(self.targets, device),
            truth={key: sent(value, device) for key, value in self.truth.items()},
        )
