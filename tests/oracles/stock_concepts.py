"""Concepts of the vectors: images with blocks that are painted or not, and scores of these."""

from functools import cache

import numpy as np

from oracles.stock import H, Model, Stock, W, drawn, dyadic, normalised
from oracles.stock_images import models as models_of_images

PREFIX = "concepts-"
BLOCKS = (slice(2, 14), slice(3, 17)), (slice(8, 22), slice(15, 31)), (slice(4, 7), slice(20, 22)), (slice(0, 24), slice(0, 9))
"""Rows and columns of the block of each concept; that of the third is small."""
ROWS = (0, 1, 2, 0, 1, 3)
"""The image of every row of a truth: there is none that is empty or full."""


@cache
def concepts() -> Stock:
    return Stock(PREFIX, inputs(), scores(), {"factors": [factors(row) for row in ROWS]}, models(),
                 sound=("random", "native", "ties", "explained"), kind="concepts")


def levels(i: int | str) -> np.ndarray:
    """int64 [3, H, W]: an image."""
    ground = np.kron(drawn(f"concepts-ground-{i}", 3, 3, 4), np.ones((8, 8))) + drawn(f"concepts-grain-{i}", 3, H, W)
    return np.asarray(np.floor(60 * ground + 40), dtype=np.int64)


def inputs() -> np.ndarray:
    """Four images in input space, float32: the last lies between levels."""
    raw = np.stack([levels(i) for i in range(4)]) / 255
    raw[3] = (raw[3] + 0.3 * drawn("concepts-between", 3, H, W) / 255).clip(0, 1)
    return normalised(raw.astype(np.float32)).astype(np.float32)


def factors(i: int) -> np.ndarray:
    """uint8 [4, 2, 3, H, W]: every concept off, as the image is, and on, its block painted."""
    found = np.stack([np.stack([levels(i)] * 2) for _ in BLOCKS])
    for k, (rows, columns) in enumerate(BLOCKS):
        found[k, 1, :, rows, columns] += np.floor(90 * drawn(f"concepts-paint-{k}", 3, 1, 1)).astype(np.int64)
    return found.astype(np.uint8)


def examples() -> dict[str, np.ndarray]:
    """Pairs of examples of three concepts, uint8 [3, 7, 3, H, W] in levels: a painted block, a small one, and a faint grain."""
    off = np.stack([[levels(f"examples-{k}-{i}") for i in range(7)] for k in range(3)])
    on = off.copy()
    for k, (rows, columns) in enumerate((BLOCKS[0], BLOCKS[2])):
        on[k, :, :, rows, columns] += np.floor(90 * drawn(f"concepts-paint-{k}", 3, 1, 1)).astype(np.int64)
    on[2] += np.floor(3 * drawn("concepts-faint", 7, 3, H, W)).astype(np.int64)
    return {"on": on.astype(np.uint8), "off": off.astype(np.uint8)}


def scores() -> dict[str, tuple[int, str, np.ndarray]]:
    """Scores of four concepts by name, with the number of the image that each belongs to."""
    broken = dyadic("concepts-broken", 4)
    broken[1] = np.nan
    found = {"random": (0, 2 * drawn("concepts-random", 4) - 1), "native": (1, dyadic("concepts-native", 4)),
             "ties": (2, np.array([0.5, 0.5, 0.0, -0.5])), "explained": (2, np.array([1.5, 0.75, 0.0, -0.25])),
             "negative": (0, -1 - drawn("concepts-negative", 4)), "zeros": (1, np.zeros(4)),
             "between": (3, dyadic("concepts-between", 4)), "broken": (3, broken)}
    return {name: (i, "none", values.astype(np.float32)) for name, (i, values) in found.items()}


def models() -> dict[str, Model]:
    """Those of images."""
    return {name: models_of_images()[name] for name in ("cnn", "linear", "constant", "single")}
