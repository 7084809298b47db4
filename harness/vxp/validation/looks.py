"""What one pass over the maps of a set sees: ranges, likeness to each other and to the centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from vxp.documents import RULES
from vxp.validation import payloads
from vxp.validation.state import ASet, State


@dataclass(eq=False)
class Maps:
    """What one pass over a set's maps notes, row by row."""

    infinite: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    finer: list[tuple[int, int, int]] = field(default_factory=list)
    centre: list[float] = field(default_factory=list)
    small: list[np.ndarray] = field(default_factory=list)
    neighbours: list[float] = field(default_factory=list)


REGIONS = ("regions", "regions3d")
MAPS = (*RULES, *REGIONS)
"""The kinds that are maps, which differ between items and positions."""
SAMPLED = 256
"""Maps of a set, evenly spread, that the dearer looks are made on."""
COARSE = 16
ALIKE = 0.999
ALIKE_FROM = 4
"""Maps from which likeness to each other says something."""
MOVED = 64
"""Maps that are held against each other under every shift, evenly spread."""
MOVED_ALIKE = 0.9
"""The mean likeness of two maps, one shifted to fit the other, from which all seem to be one (12.5.1 has the figures)."""
MOVED_FROM = 8


class Looker:
    """Sees every map once, in the pass that also hashes it."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.maps: dict[int, Maps] = {}

    def __call__(self, found: ASet, number: int, first: int, maps: np.ndarray) -> None:
        shards = found.document["shards"]
        rows = sum(s["rows"] for s in shards)
        if found.items is None or rows != found.items.rows:
            return  # the manifest claims other rows than there are; VXP-C003 says so
        notes = self.maps.setdefault(id(found), Maps(np.zeros(rows, int), np.zeros(rows), np.zeros(rows)))
        start = sum(s["rows"] for s in shards[:number]) + first
        kind = found.document["kind"]
        finite = np.isfinite(maps.reshape(len(maps), -1))
        if finite.all():
            payloads.check(self.state, found, number, start, maps)
        if kind in REGIONS:
            maps = maps[:, 1]  # the scores
        flat, finite = maps.reshape(len(maps), -1), finite[:, -maps[0].size :]
        bad = (~finite).sum(1)
        part = slice(start, start + len(maps))
        notes.infinite[part] = bad
        clean = np.where(finite, flat, 0) if bad.any() else flat
        notes.lowest[part], notes.highest[part] = clean.min(1), clean.max(1)
        step = max(1, rows // SAMPLED)
        for i in range(len(maps) if kind in MAPS else 0):
            if (start + i) % step == 0 and not bad[i] and notes.lowest[start + i] < notes.highest[start + i]:
                _look(notes, maps[i].astype(np.float32))


def _look(notes: Maps, map_: np.ndarray) -> None:
    """Different values at single and at half precision; likeness to the centre-Gaussian, in values or in ranks; likeness of
    neighbours; the map on a coarse grid."""
    scaled = map_ / np.abs(map_).max()
    notes.finer.append((map_.size, len(np.unique(map_)), len(np.unique(scaled.astype(np.float16)))))
    coarse = _coarse(map_)
    # ranks keep a likeness that a power or another monotone function of the values would hide
    notes.centre.append(max(_correlation(map_, _centre(*map_.shape)),
                            _correlation(_ranks(coarse), _ranks(_centre(*coarse.shape)))))
    notes.neighbours.append(_correlation(map_[..., 1:], map_[..., :-1]) if map_.shape[-1] > 2 else 1.0)
    notes.small.append(coarse)


def _coarse(map_: np.ndarray) -> np.ndarray:
    """Means over a grid of at most 16 cells along an axis: noise cancels out, the picture stays."""
    edges = [np.linspace(0, n, min(n, COARSE) + 1).astype(int) for n in map_.shape]
    sums = map_.astype(float)
    for axis, at in enumerate(edges):
        sums = np.add.reduceat(sums, at[:-1], axis)
    return np.asarray(sums / reduce(np.multiply.outer, [np.diff(at) for at in edges]))


def _ranks(map_: np.ndarray) -> np.ndarray:
    """The rank of every value; equal values share the mean of theirs."""
    _, place, counts = np.unique(map_, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - counts / 2)[place].reshape(map_.shape))


def _units(small: Sequence[np.ndarray]) -> np.ndarray:
    """Maps [N, *grid] without their mean and at length 1, so that a product of two is their correlation."""
    maps = np.stack(small)
    grid = tuple(range(1, maps.ndim))
    maps = maps - maps.mean(grid, keepdims=True)
    return np.asarray(maps / np.maximum(np.sqrt((maps * maps).sum(grid, keepdims=True)), np.finfo(float).tiny))


def alike(small: Sequence[np.ndarray]) -> float:
    """The share of maps for which there is another that correlates above 0.999 on the coarse grid."""
    if len(small) < ALIKE_FROM or small[0].size < COARSE:
        return 0.0
    units = _units(small).reshape(len(small), -1)
    likeness = units @ units.T
    np.fill_diagonal(likeness, -1)
    return float(np.mean(likeness.max(1) > ALIKE))


def moved(small: Sequence[np.ndarray]) -> float:
    """The mean over pairs of maps of their correlation on the coarse grid, one map shifted in a circle to where it fits the
    other best; of values or of ranks, whichever is higher. Noise and shifts of one map do not lower it much."""
    if len(small) < MOVED_FROM or small[0].size < COARSE:
        return 0.0
    some = [small[i] for i in np.unique(np.linspace(0, len(small) - 1, min(len(small), MOVED)).astype(int))]
    return max(_best_shifts(_units(some)), _best_shifts(_units([_ranks(m) for m in some])))


def _best_shifts(units: np.ndarray) -> float:
    size, grid = units.shape[1:], tuple(range(1, units.ndim))
    waves = np.fft.rfftn(units, axes=grid)
    pairs = [np.fft.irfftn(waves[i + 1 :] * waves[i].conj(), s=size, axes=grid).max(grid) for i in range(len(units) - 1)]
    return float(np.mean(np.concatenate(pairs)))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    x, y = a.astype(float).ravel() - a.mean(dtype=float), b.astype(float).ravel() - b.mean(dtype=float)
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 0 else 0.0


def _centre(*grid: int) -> np.ndarray:
    """The reference centre-gaussian on this grid (6.4)."""
    def bell(n: int) -> np.ndarray:
        return np.asarray(np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 4)) ** 2))
    return np.asarray(reduce(np.multiply.outer, map(bell, grid)))
