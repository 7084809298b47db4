"""What is explained: some items of a task as the model takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vxp.errors import VxpError
from vxp.machine import sent
from vxp.media import RAW, Medium, Normalization, of_axes


@dataclass(frozen=True, eq=False)
class Bank:
    """Examples of concepts, as the model takes them: on and off float [K, n, C, *space], inputs that show a concept and inputs
    that do not; pairs of them where `paired`: they differ in the concept alone. Where all concepts of every example are known,
    values bool [2, K, n, K], of those in off and of those in on, and labels int64 [2, K, n], the class that is correct."""

    names: tuple[str, ...]
    on: Tensor
    off: Tensor
    paired: bool = False
    values: Tensor | None = None
    labels: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """Some items of a task as the model takes them.

    inputs [B, C, *space] float, space (H, W) of images, (T, H, W) of clips and (n,) of sequences; targets int64 [B], the
    explained class of every item (-1 where the model's output has no classes), known and frozen before any perturbation (items
    of which it is not known yet are `vxp.tasks.Loaded`, and no batch); ids name the items (they key every random draw, so a
    score does not depend on an item's neighbours); clusters name what is resampled in statistics (photo, stamp, video); truth
    maps a key (mask, cells, ...) to bool or float [B, *space], which only the oracles and the localisation metrics look at.
    parts: by what the parts are, the part of every step of items in time, int64 [B, steps] (`fragment`, `second`), or of every
    position, int64 [B, P], -1 in none (`object`), numbered from 0 without a gap; segments: the fragments as half-open ranges
    of frames of the video, int64 [B, K, 2], None where its frames are the steps. labels: the classes that count as correct,
    int64 [B, L], padded with -1; None where none are known. foils: the class int64 [B] that a counterfactual is to reach;
    bank: examples of the concepts that explanations are made of; None where there are none. named: the names of the concepts or
    parts that truths list (`present`, `without`), in their order; rates: frames per second of videos, float64 [B], NaN where it
    is not known; None of items that are no videos.
    """

    ids: tuple[str, ...]
    inputs: Tensor
    targets: Tensor
    normalization: Normalization = RAW
    seed: int = 0
    truth: Mapping[str, Tensor] = field(default_factory=dict)
    clusters: tuple[str, ...] = ()
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    labels: Tensor | None = None
    segments: Tensor | None = None
    foils: Tensor | None = None
    bank: Bank | None = None
    named: tuple[str, ...] = ()
    rates: Tensor | None = None

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
        """The input grid, (H, W), (T, H, W) or (n,); its product is P, the number of positions."""
        return tuple(self.inputs.shape[2:])

    @property
    def positions(self) -> int:
        return int(self.inputs[0, 0].numel())

    @property
    def concepts(self) -> tuple[str, ...]:
        """The names of the concepts that explanations are made of, or of the parts that truths list."""
        return self.named if self.bank is None else self.bank.names

    def parts_of(self, unit: str) -> Tensor:
        """The part int64 [B, steps] of every step, or [B, P] of every position; VxpError where the items are not divided into
        such parts, or not into as many each."""
        if unit not in self.parts:
            raise VxpError(f"the items are not divided into {unit}s, which is asked for: give the list of them ({unit}s=)")
        of = self.parts[unit]
        ends = of.amax(1)
        if bool((ends != ends[0]).any()):
            raise VxpError(f"the items have {sorted({int(end) + 1 for end in ends})} {unit}s each, expected one number in a "
                           "batch: take them one by one")
        return of

    def count_of(self, unit: str) -> int:
        """How many parts of this unit each item has; VxpError as of `parts_of`."""
        return int(self.parts_of(unit).max()) + 1

    def known_labels(self) -> Tensor:
        """The classes that count as correct, int64 [B, L], -1 where there is none."""
        return self.targets.new_full((len(self), 1), -1) if self.labels is None else self.labels

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
            parts={unit: of[where] for unit, of in self.parts.items()},
            labels=None if self.labels is None else self.labels[where],
            segments=None if self.segments is None else self.segments[where],
            foils=None if self.foils is None else self.foils[where],
            rates=None if self.rates is None else self.rates[where],
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same items on a device."""
        return replace(
            self,
            inputs=sent(self.inputs, device),
            targets=sent(self.targets, device),
            truth={key: sent(value, device) for key, value in self.truth.items()},
            parts={unit: sent(of, device) for unit, of in self.parts.items()},
            labels=None if self.labels is None else sent(self.labels, device),
            segments=None if self.segments is None else sent(self.segments, device),
            foils=None if self.foils is None else sent(self.foils, device),
            rates=None if self.rates is None else sent(self.rates, device),
            bank=None if self.bank is None else replace(self.bank, on=sent(self.bank.on, device),
                                                        off=sent(self.bank.off, device)),
        )
