"""What a metric looks at, and what it answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from vxp.core.batch import Batch
from vxp.core.requests import Edit, Filled, Held, Name, Readout, Removed, Request, Unchanged
from vxp.errors import OK, VxpError
from vxp.kinds import Kind, Map, Resample, of_map


@dataclass(frozen=True, eq=False)
class Outcome:
    """One score per item: values float64 [B], NaN where there is none, and a status per item.

    curve [B, S+1] and its x (fractions) are what was averaged, kept for the report. statistics [B, D] are what a
    metric of the set keeps of each item; its values are then what one item says by itself, if anything.
    """

    values: Tensor
    status: tuple[str, ...]
    curve: Tensor | None = None
    x: tuple[float, ...] = ()
    statistics: Tensor | None = None


def outcome(
    values: Tensor,
    undefined: Mapping[str, Tensor] | None = None,
    *,
    curve: Tensor | None = None,
    x: Sequence[float] = (),
    statistics: Tensor | None = None,
    failed: Tensor | None = None,
) -> Outcome:
    """An outcome from values [B] and, per code, a bool tensor [B] of the items where it is undefined for that reason.

    The first code that holds is the item's status. A value that is not finite without a stated reason becomes
    `failed:non-finite-score`, and so does an item of `failed` [B], where a comparison made a number of what was none: a status
    is never silently a number.
    """
    numbers = values.detach().to(torch.float64).cpu().clone()
    status = [OK] * len(numbers)
    for code, where in (undefined or {}).items():
        for i in torch.nonzero(where.cpu()).flatten().tolist():
            if status[i] == OK:
                status[i] = f"undefined:{code}"
    # a metric of the set has its numbers in the statistics, and may have nothing to say of one item
    judged = numbers if statistics is None else statistics.detach().cpu().double().flatten(1).sum(1)
    wrong = ~torch.isfinite(judged) if failed is None else ~torch.isfinite(judged) | failed.cpu()
    for i in torch.nonzero(wrong).flatten().tolist():
        if status[i] == OK:
            status[i] = "failed:non-finite-score"
    numbers[torch.tensor([s != OK for s in status], dtype=torch.bool)] = float("nan")
    kept = None if curve is None else curve.detach().to(torch.float64).cpu()
    return Outcome(numbers, tuple(status), kept, tuple(x), None if statistics is None else statistics.detach().cpu())


Plan = Generator[Request, Tensor, Outcome]


@dataclass(frozen=True, eq=False)
class Order:
    """In which order positions go: positions [B, P], and for groups that go together where each begins, starts
    [B, R + 1]; without starts every position goes by itself."""

    positions: Tensor
    starts: Tensor | None = None


def means_of_labels(values: Tensor, of: Tensor) -> Tensor:
    """The mean float64 [B, K] over the positions of every part, of values [B, P]; of int64 [B, P]: the part of every position,
    -1 in none. Every part has a position."""
    return sums_of_labels(values, of) / sums_of_labels(torch.ones_like(values), of)


def sums_of_labels(values: Tensor, of: Tensor) -> Tensor:
    """The sum float64 [B, K] over the positions of every part, of values and parts as of `means_of_labels`."""
    found = torch.zeros(len(of), int(of.max()) + 2, dtype=torch.float64, device=of.device)
    return found.scatter_add_(1, of + 1, values.double())[:, 1:]


def means_of_parts(steps: Tensor, of: Tensor) -> Tensor:
    """The mean [B, K, ...] over the steps of every part, of steps [B, n, ...]; of int64 [B, n]: the part of every step."""
    counted = F.one_hot(of).to(steps.dtype)
    sums = torch.einsum("bnk,bn...->bk...", counted, steps)
    # divided once, so that parts whose steps have one value have it, however many they are
    return sums / counted.sum(1).view(*sums.shape[:2], *[1] * (sums.ndim - 2))


@dataclass(frozen=True, eq=False)
class Case:
    """All that a metric may look at: one batch and the stored maps of one explainer for it.

    native [B, *grid] is the payload as read back; map [B, *space] is the evaluation map, resampled by the set's rule, of kinds
    that are maps. explained is the kind; None for the map with as many axes.
    A map with a value that is not finite is replaced by zeros here and its items get `undefined:non-finite-map`
    from the engine, so that the others are untouched.
    """

    batch: Batch
    native: Tensor
    resample: Resample = "bilinear"
    signed: bool = True
    masks: dict[Held, Tensor] = field(default_factory=dict)
    images: dict[Held, Tensor] = field(default_factory=dict)
    orders: dict[Held, Order] = field(default_factory=dict)
    explained: Kind | None = None

    @property
    def kind(self) -> Kind:
        """What the explanations are."""
        return self.explained or of_map(self.batch.medium, self.native.ndim - 1)

    @property
    def of_maps(self) -> Map:
        """The same of explanations that are maps; VxpError for others."""
        found = self.kind
        if not isinstance(found, Map):
            raise VxpError(f"explanations of the kind {found.id} are no maps, and a map is asked for")
        return found

    def on_input_grid(self, native: Tensor) -> Tensor:
        """Maps [B, *grid] on the input grid, by the set's rule."""
        return self.of_maps.resampled(native, self.batch.space, self.resample, self.batch.parts)

    @cached_property
    def finite(self) -> Tensor:
        """bool [B]: maps without NaN or infinity."""
        return torch.isfinite(self.native).flatten(1).all(1)

    @cached_property
    def clean(self) -> Tensor:
        """The native map as float32, zeros where the item's map is not finite."""
        shape = (-1, *[1] * (self.native.ndim - 1))
        return torch.where(self.finite.view(shape), self.native, torch.zeros_like(self.native)).float()

    @cached_property
    def map(self) -> Tensor:
        """The evaluation map [B, *space] float32."""
        return self.on_input_grid(self.clean)

    def weights(self, unit: str = "fragment") -> Tensor:
        """The relevance float64 [B, K] of the parts of this unit: as it is stored, or the mean over the steps of a part.
        VxpError where the items are not divided into such parts."""
        if self.kind.ragged and self.kind.rule(self.resample) == unit:
            return self.clean.double()
        of = self.batch.parts.get(unit)
        if of is not None and of.shape[1] != self.batch.space[0]:
            return means_of_labels(self.map.flatten(1), self.batch.parts_of(unit))
        steps = self.map.double().flatten(2).mean(2) if self.map.ndim > 2 else self.map.double()
        return means_of_parts(steps, self.batch.parts_of(unit))

    @cached_property
    def constant(self) -> Tensor:
        """bool [B]: evaluation maps with one value everywhere."""
        flat = self.map.flatten(1)
        return flat.amax(1) == flat.amin(1)

    @cached_property
    def key(self) -> str:
        """Digest of the maps, or of what is no map: names the case in requests, so that equal ones share rows. Regions of equal
        maps may go in another order."""
        named = self.map if isinstance(self.kind, Map) and self.kind.also is None else self.native
        return hashlib.sha256(named.cpu().contiguous().numpy().tobytes()).hexdigest()

    @cached_property
    def order(self) -> Tensor:
        """int64 [B, P]: positions from the most to the least relevant; ties by row-major index (clause [order])."""
        return self.of_maps.order(self.map, self.clean)

    @property
    def ranked(self) -> Held:
        """The order by position as requests name it."""
        return Held(self.key)

    def mask(self, name: Name, make: Callable[[], Tensor]) -> Held:
        """Keep a mask [B, *space] in [0, 1] under a name and return the name that requests use."""
        full = Held(self.key, name)
        if full not in self.masks:
            self.masks[full] = make()
        return full

    def image(self, name: Name, make: Callable[[], Tensor]) -> Held:
        """Keep images uint8 [B, C, H, W] under a name and return the name that requests use."""
        full = Held(self.key, name)
        if full not in self.images:
            self.images[full] = make()
        return full

    def grouped(self, name: str, ranks: Callable[[], Tensor]) -> Held:
        """Keep the order in which groups of positions go, under a name that `removed` takes.

        ranks() gives int64 [B, P]: the rank of the group of each position, 0 the first to go; an item may have fewer
        groups than another.
        """
        full = Held(self.key, name)
        if full not in self.orders:
            of = ranks()
            groups = int(of.max()) + 1
            sizes = torch.zeros(len(of), groups, dtype=torch.long, device=of.device).scatter_add_(1, of, torch.ones_like(of))
            self.orders[full] = Order(of.argsort(dim=1, stable=True), F.pad(sizes.cumsum(1), (1, 0)))
        return full

    def ordered(self, name: Held) -> Order:
        """The order that a request names: by position or by groups."""
        return Order(self.order) if name == self.ranked else self.orders[name]

    def unchanged(self, readout: Readout = "probability") -> Request:
        return Request((Unchanged(),), readout=readout)

    def removed(
        self, counts: Sequence[int], fill: str, *, first: Literal["most", "least"] = "most",
        readout: Readout = "probability", order: Held | None = None,
    ) -> Request:
        """Remove the k most (or least) relevant positions, or groups of an order, for each k of counts."""
        last = self._groups(order)
        spans = [(0, k) if first == "most" else (last - k, last) for k in counts]
        return self.removed_spans(spans, fill, readout=readout, order=order)

    def removed_spans(
        self, spans: Sequence[tuple[int, int]], fill: str, *, readout: Readout = "probability", order: Held | None = None
    ) -> Request:
        """Remove the positions (or groups) of rank a <= rank < b, for each (a, b) of spans."""
        return Request(tuple(self._removal(a, b, fill, order) for a, b in spans), readout=readout)

    def _groups(self, order: Held | None) -> int:
        starts = None if order is None else self.orders[order].starts
        return self.batch.positions if starts is None else starts.shape[1] - 1

    def _removal(self, a: int, b: int, fill: str, order: Held | None) -> Edit:
        # nothing removed and everything removed do not depend on the order: say so, and all orders share these rows
        if a == b:
            return Unchanged()
        if b - a == self._groups(order):
            return Filled(self.batch.medium.fill(fill).whole)
        return Removed(order or self.ranked, a, b, fill)
