"""Consistency of prototypes (Huang et al. 2023), corrected for what a random window hits."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Cell = tuple[int, int]


def prototype_consistency(samples: list[dict[str, Any]], clusters: Sequence[str], *, window: int) -> float:
    """The share of pairs of prototype and class, of those that speak for an item of the class, that are consistent."""
    total = consistent = 0
    for c in sorted({s["target"] for s in samples}):
        own = [s for s in samples if s["target"] == c]
        for p in range(len(own[0]["payload"])):
            if not any(speaks(s["payload"][p]) for s in own):
                continue
            total += 1
            consistent += any(corrected(own, p, k, window) >= 0.8 - 1e-9 for k in range(max(own[0]["pieces"]) + 1))
    return consistent / total


def corrected(samples: Sequence[dict[str, Any]], p: int, k: int, window: int) -> float:
    """How often a prototype hits a part of the items of a class, less chance."""
    hits, chances = [], []
    for s in samples:
        plane = s["payload"][p]
        cells = list(itertools.product(*map(range, plane.shape)))
        around = [hit(s, plane.shape, cell, k, window) for cell in cells]
        largest = max(plane[cell] for cell in cells)
        at = next(cell for cell in cells if plane[cell] == largest)
        hits.append(speaks(plane) and hit(s, plane.shape, at, k, window))
        chances.append(sum(around) / len(cells))
    a, r = sum(hits) / len(hits), sum(chances) / len(chances)
    return 0.0 if r >= 1 - 1e-9 else (a - r) / (1 - r)


def speaks(plane: np.ndarray) -> bool:
    return bool(plane.max() > 0)


def hit(sample: dict[str, Any], grid: Cell, cell: Cell, k: int, window: int) -> bool:
    """Whether a position of part k lies in the window around the middle of a cell."""
    H, W = sample["image"].shape[1:]
    y, x = (math.floor((2 * i + 1) * N / (2 * n)) for i, N, n in zip(cell, (H, W), grid, strict=True))
    low = (window - 1) // 2
    rows, columns = (range(max(0, at - low), min(N, at - low + window)) for at, N in ((y, H), (x, W)))
    return any(sample["pieces"][row * W + column] == k for row in rows for column in columns)


VARIANTS = [{"window": 1}, {"window": 4}, {"window": 17}, {"window": 40}]
