"""The fixed reference explanations of clauses 6.4.2 and 6.4.4, in plain loops."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from oracles import philox

Grid = list[list[float]]


def random(H: int, W: int, item: str, seed: int) -> Grid:
    words = philox.uniforms(philox.key(seed, item, "random@1", "map"), 0, H * W)[0]
    return [[float(words[y * W + x]) for x in range(W)] for y in range(H)]


def centre_gaussian(H: int, W: int) -> Grid:
    def bell(i: int, n: int) -> float:
        return math.exp(-(((i - (n - 1) / 2) / (0.25 * n)) ** 2) / 2)

    return [[bell(y, H) * bell(x, W) for x in range(W)] for y in range(H)]


def edges(raw: np.ndarray) -> Grid:
    """raw [3, H, W], float64."""
    _, H, W = raw.shape
    grey = [[0.299 * raw[0, y, x] + 0.587 * raw[1, y, x] + 0.114 * raw[2, y, x] for x in range(W)] for y in range(H)]
    rows = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]

    def at(y: int, x: int) -> float:
        return float(grey[min(max(y, 0), H - 1)][min(max(x, 0), W - 1)])

    def size(y: int, x: int) -> float:
        window = [(dy, dx, at(y + dy - 1, x + dx - 1)) for dy in range(3) for dx in range(3)]
        across = sum(rows[dy][dx] * value for dy, dx, value in window)
        down = sum(rows[dx][dy] * value for dy, dx, value in window)
        return math.sqrt(across**2 + down**2)

    return [[size(y, x) for x in range(W)] for y in range(H)]


def oracle(truth: np.ndarray) -> Grid:
    """truth [H, W], bool."""
    H, W = truth.shape
    inside = [(y, x) for y in range(H) for x in range(W) if truth[y, x]]
    outside = [(y, x) for y in range(H) for x in range(W) if not truth[y, x]]
    if not inside or not outside:
        return oracle_binary(truth)

    def nearest(y: int, x: int, others: list[tuple[int, int]]) -> float:
        return math.sqrt(min((y - v) ** 2 + (x - u) ** 2 for v, u in others))

    return [[nearest(y, x, outside) if truth[y, x] else -nearest(y, x, inside) for x in range(W)] for y in range(H)]


def oracle_binary(truth: np.ndarray) -> Grid:
    return [[float(value) for value in row] for row in truth]


def made(reference: str, item: str, seed: int, raw: np.ndarray, truth: Mapping[str, Any]) -> np.ndarray:
    """The map [H, W] float32 of a reference; KeyError for one that needs a truth which is not there."""
    _, H, W = raw.shape
    if reference == "random":
        found = random(H, W, item, seed)
    elif reference == "centre-gaussian":
        found = centre_gaussian(H, W)
    elif reference == "edges":
        found = edges(raw)
    else:
        kind = "mask" if "mask" in truth else "cells"
        found = {"oracle": oracle, "oracle-binary": oracle_binary}[reference](truth[kind])
    return np.array(found).astype(np.float32)
