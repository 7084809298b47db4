"""A kind of explanation: what one item's explanation is, and, of maps, how it meets the item's positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from vxp_schemas import typed

from vxp.documents import GRIDS, RULES
from vxp.errors import VxpError
from vxp.media import Medium

KindId = typed.ExplanationKind
Resample = typed.Resample


class Items(Protocol):
    """What a kind may look at of the items of a batch (`vxp.core.Batch`)."""

    @property
    def inputs(self) -> Tensor: ...
    @property
    def space(self) -> tuple[int, ...]: ...
    @property
    def concepts(self) -> tuple[str, ...]: ...
    def count_of(self, unit: str) -> int: ...


@dataclass(frozen=True, eq=False)
class Kind:
    """What the explanation of an item of some media is: numbers on named axes."""

    id: KindId
    media: tuple[Medium, ...]

    @property
    def dtype(self) -> torch.dtype:
        """The type of its numbers in memory and in a payload."""
        return torch.float32

    @property
    def whole(self) -> bool:
        """Whether it is a map over all axes of its medium, and over nothing else."""
        return False

    @property
    def ragged(self) -> bool:
        """Whether items have grids of different sizes."""
        return False

    @property
    def also(self) -> KindId | None:
        """The kind that it is too: what is defined for that is defined for it."""
        return None

    @property
    def grid(self) -> tuple[str, ...]:
        """The names of its axes."""
        return GRIDS[self.id]

    @property
    def shape(self) -> str:
        """How messages write its grid."""
        return ", ".join(self.grid)

    def rule(self, declared: Resample) -> Resample:
        """The rule of resampling of this kind for a declared one: `none`, where it lies on no input grid."""
        return "none"

    def checked(self, found: Tensor, batch: Items, by: str) -> Tensor:
        """What an explainer gave for a batch, [B, *grid] of the kind's type; VxpError, which names who gave it, for another
        shape."""
        if not isinstance(found, Tensor) or found.ndim != 1 + len(self.grid) or len(found) != len(batch.inputs):
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise VxpError(f"{by} returned {got}, expected a tensor [{len(batch.inputs)}, {self.shape}]: {self.expected}")
        return found.detach().to(self.dtype)

    @property
    def expected(self) -> str:
        """What messages say of the numbers of an item."""
        return "one explanation per item"

    def stand_in(self, batch: Items) -> Tensor:
        """A made-up explanation of every item of a batch."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Map(Kind):
    """A map of relevance [*grid] over the items of a medium."""

    @property
    def whole(self) -> bool:
        return True

    @property
    def linear(self) -> Resample:
        """The rule of resampling that takes all axes linearly: the first of the kind's rules."""
        return next(iter(RULES[self.id]))

    def rule(self, declared: Resample) -> Resample:
        """The rule of this kind for a declared one: `bilinear`, which most explainers declare, means linearly in all axes.

        VxpError for one that this kind does not have.
        """
        found: Resample = self.linear if declared == "bilinear" else declared
        if found not in (*RULES[self.id], "none"):
            known = ", ".join([*RULES[self.id], "none"])
            raise VxpError(f"resample {declared!r} is no rule for {self.id}: expected one of {known}")
        return found

    @property
    def expected(self) -> str:
        return "one map per item with the channels pooled"

    def stand_in(self, batch: Items) -> Tensor:
        return drawn(len(batch.inputs), *batch.space)

    def order(self, map: Tensor, native: Tensor) -> Tensor:
        """int64 [B, P]: positions from the most to the least relevant of evaluation maps [B, *space]; ties by row-major index
        (clause [order])."""
        return map.flatten(1).argsort(dim=1, descending=True, stable=True)

    def pooled(self, maps: Tensor, grid: Sequence[int]) -> Tensor:
        """Maps [B, *space] as means over a coarser grid."""
        pool: Any = F.adaptive_avg_pool2d if maps.ndim == 3 else F.adaptive_avg_pool3d
        pooled: Tensor = pool(maps[:, None], tuple(grid))
        return pooled[:, 0]

    def resampled(
        self, native: Tensor, space: Sequence[int], rule: Resample, parts: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The native maps [B, *grid] on the input grid by the set's rule (clause [map]). parts: of kinds that are scores of
        parts, the part int64 [B, steps] of every step, by unit.

        Linear is align_corners=False without antialiasing, with the arithmetic of clause 5.3.2; nearest takes, for place i of
        N, position floor((2*i + 1)*n / (2*N)) of n; `none` asks that the grid is the input grid already.
        """
        if tuple(native.shape[1:]) == tuple(space):
            return native
        if rule == "none":
            raise VxpError(f"a map with resample 'none' has the grid {tuple(native.shape[1:])}, expected the input grid "
                           f"{tuple(space)}: declare resample {self.linear!r} or 'nearest', or store maps on the input grid")
        if native.ndim - 1 != len(self.grid):
            raise VxpError(f"got maps on the grid {tuple(native.shape[1:])}, expected [{self.shape}] for inputs of "
                           f"{tuple(space)}")
        linear = RULES[self.id][self.rule(rule)]
        # in float64, so that a plateau stays one value
        found = native.double() if linear else native
        for dim in range(len(space), 0, -1):
            step = _between if len(space) + 1 - dim <= linear else _nearest
            found = step(found, dim, space[dim - 1])
        return found.to(native.dtype)


def _nearest(values: Tensor, dim: int, N: int) -> Tensor:
    # in integers: torch's nearest-exact rounds its scale to float32, and takes another row for 10 -> 299
    place = (2 * torch.arange(N, device=values.device) + 1) * values.shape[dim] // (2 * N)
    return values.index_select(dim, place)


def _between(values: Tensor, dim: int, N: int) -> Tensor:
    """Values [B, *grid] on N places along one dimension: low + weight*(high - low), each operation rounded by itself. So equal
    neighbours give their value to the last bit; of F.interpolate they do not, and the order of a plateau would be that of
    rounding errors."""
    n = values.shape[dim]
    # for every place the two of n that it lies between, and the weight of the second: one division of integers
    place = ((2 * torch.arange(N, device=values.device) + 1) * n - N).clamp_min(0)
    low = place // (2 * N)
    weight = (place - 2 * N * low).double() / (2 * N)
    below, above = values.index_select(dim, low), values.index_select(dim, (low + 1).clamp_max(n - 1))
    return above.sub_(below).mul_(weight.view(-1, *[1] * (values.ndim - 1 - dim))).add_(below)


def drawn(*shape: int) -> Tensor:
    """Made-up numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


__all__ = ["Items", "Kind", "KindId", "Map", "Resample", "drawn"]
