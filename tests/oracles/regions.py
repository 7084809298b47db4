"""Regions of an image: tiles, cells, their ranks by the mean of the map, and curves while they are removed whole."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from oracles import curves, fills, maps
from oracles.curves import Model


def side(at: int, of: int, H: int, W: int) -> int:
    """`at` pixels at images of `of` pixels, scaled with the shorter side; halves up, at least 1."""
    return max(1, math.floor(at * min(H, W) / of + 0.5))


def tiles(size: int, H: int, W: int) -> list[list[int]]:
    """Square tiles from the top left, row by row; those at the right and lower border may be cut."""
    return [[y * W + x for y in range(top, min(top + size, H)) for x in range(left, min(left + size, W))]
            for top in range(0, H, size) for left in range(0, W, size)]


def cells(grid: int, H: int, W: int) -> list[list[int]]:
    """The positions of every cell of a regular grid, row by row."""
    found: list[list[int]] = [[] for _ in range(grid * grid)]
    for y in range(H):
        for x in range(W):
            found[(y * grid) // H * grid + (x * grid) // W].append(y * W + x)
    return found


def segments(labels: np.ndarray) -> list[list[int]]:
    """The positions of every label 0, 1, ..."""
    flat = labels.ravel()
    return [[int(p) for p in np.flatnonzero(flat == label)] for label in range(int(flat.max()) + 1)]


def ranked(regions: Sequence[Sequence[int]], attribution: np.ndarray, space: tuple[int, int]) -> list[list[int]]:
    """The regions from the highest to the lowest mean of the map; ties by their index."""
    values = [float(v) for v in maps.bilinear(attribution, space).ravel()]
    means = [math.fsum(values[p] for p in region) / len(region) for region in regions]
    order = sorted(range(len(regions)), key=lambda index: (-means[index], index))
    return [list(regions[index]) for index in order]


def curve(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, regions: Sequence[Sequence[int]], last: int, fill: str,
) -> list[float]:
    """The target's probability with the k most relevant regions removed, k = 0 to last. Divides by zero where the map
    is constant."""
    order = ranked(regions, attribution, (image.shape[1], image.shape[2]))
    _not_constant = 1 / float(attribution.max() - attribution.min())
    made = None if fill in fills.IMPUTED else fills.fill(fill, image, mean, std, seed, item)
    found, gone = [], []
    for k in range(last + 1):
        if k:
            gone += order[k - 1]
        row = fills.removed(image, gone, fill, mean, std, seed, item, made)
        found.append(curves.probability(model, row, target))
    return found


def masses_and_drops(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, parts: Iterable[Sequence[int]], fill: str, rounding: float,
) -> tuple[list[float], list[float]]:
    """Per part the sum of the map and what the logit loses without it; nothing if at most rounding*max(1, |logit|)."""
    values = [float(v) for v in maps.bilinear(attribution, (image.shape[1], image.shape[2])).ravel()]
    made = None if fill in fills.IMPUTED else fills.fill(fill, image, mean, std, seed, item)
    whole = float(model(image)[target])
    masses, drops = [], []
    for places in parts:
        masses.append(math.fsum(values[p] for p in places))
        row = fills.removed(image, places, fill, mean, std, seed, item, made)
        drop = whole - float(model(row)[target])
        drops.append(drop if abs(drop) > rounding * max(1.0, abs(whole)) else 0.0)
    return masses, drops


def ranks(values: Sequence[float]) -> list[float]:
    """Rank 1 for the lowest; equal values share the mean of their ranks."""
    return [sum(w < v for w in values) + (1 + sum(w == v for w in values)) / 2 for v in values]
