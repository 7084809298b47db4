"""Regions of positions that are ranked by the map and removed whole, and drops of the logit without rounding."""

from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from vxp.core import Case, Held, Part, Request
from vxp.metrics._subsets import mass_and_drop_of

ROUNDING = 1e-6
"""A float32 logit f(x) is known to about this share of max(1, |f(x)|)."""


def scaled_side(side: int, of: int, case: Case) -> int:
    """A side of `side` pixels at images of `of` pixels, at the case's size: the shorter side decides, halves go up,
    at least 1."""
    shorter = min(case.batch.space)
    # floor(side*shorter/of + 1/2) in whole numbers
    return max(1, (2 * side * shorter + of) // (2 * of))


def tiles(side: int, case: Case) -> Tensor:
    """int64 [P]: the square tile of every position, row-major from the top left; the last row and column may be cut."""
    H, W = case.batch.space
    device = case.batch.inputs.device
    rows, columns = (torch.arange(n, device=device) // side for n in (H, W))
    return (rows[:, None] * -(-W // side) + columns).flatten()


def means(case: Case, labels: Tensor) -> Tensor:
    """float64 [B, R]: the mean of the evaluation map over every region; -inf for those that an item with fewer has not.
    labels [B, P] are 0, 1, ... and every label up to an item's largest is taken."""
    values = case.map.flatten(1).double()
    labels = labels.to(values.device)
    R = int(labels.max()) + 1
    sums = torch.zeros(len(labels), R, dtype=torch.float64, device=values.device).scatter_add_(1, labels, values)
    sizes = torch.zeros_like(sums).scatter_add_(1, labels, torch.ones_like(values))
    return torch.where(sizes > 0, sums / sizes.clamp_min(1), -torch.inf)


def ranks(case: Case, labels: Tensor) -> Tensor:
    """int64 [B, P]: the rank of the region of each position, by the region's mean of the evaluation map, descending,
    ties by label."""
    rank = falling(means(case, labels))
    return rank.gather(1, labels.to(rank.device))


def falling(values: Tensor) -> Tensor:
    """int64 [B, N]: the rank of every value, the largest first, ties by index."""
    place = values.argsort(dim=1, descending=True, stable=True)
    return torch.empty_like(place).scatter_(1, place, torch.arange(place.shape[1], device=place.device).expand_as(place))


def tiled(case: Case, side: int) -> tuple[Held, int]:
    """The order in which the tiles of this side go, most relevant first, and their number."""
    labels = tiles(side, case)
    order = case.grouped(f"tiles-{side}", lambda: ranks(case, labels.expand(len(case.batch), -1)))
    return order, int(labels[-1]) + 1


def mass_and_known_drop(case: Case, parts: Sequence[Part], fill: str) -> Generator[Request, Tensor, tuple[Tensor, Tensor]]:
    """Sum of the map over each part and f(x) - f(x without it), float64 [B, N]; a drop that is rounding is 0.

    Without this the ranks of parts that change nothing would be those of float32's last digits.
    """
    mass, drop = yield from mass_and_drop_of(case, parts, fill)
    whole = yield case.unchanged("logit")
    return mass, drop.masked_fill(drop.abs() <= ROUNDING * whole.abs().clamp_min(1), 0.0)
