"""Counterfactuals against their items, in levels of 8 bits: one item, plain loops.

An image is float64 [3, H, W] in the model's input space, a counterfactual uint8 [3, H, W].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from oracles import UndefinedError


def values(image: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Every channel, row and column."""
    return itertools.product(*(range(n) for n in image.shape))


def levels(image: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """The image in 8-bit levels, int64."""
    found = np.zeros(image.shape, np.int64)
    for c, y, x in values(image):
        raw = float(image[c, y, x]) * std[c] + mean[c]
        found[c, y, x] = math.floor(255 * min(max(raw, 0.0), 1.0) + 0.5)
    return found


def changes(image: np.ndarray, payload: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """How many levels every value has changed by, int64 [3, H, W]; a counterfactual that is the item is undefined."""
    found = payload.astype(np.int64) - levels(image, mean, std)
    if not found.any():
        raise UndefinedError("unchanged")
    return found


def shown(image: np.ndarray, levels_: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """What the model is shown of an image in levels: the item's own value where the level is the item's, else float32."""
    own, found = levels(image, mean, std), image.copy()
    for c, y, x in values(image):
        if levels_[c, y, x] != own[c, y, x]:
            raw = np.float32(levels_[c, y, x]) / np.float32(255)
            found[c, y, x] = (raw - np.float32(mean[c])) / np.float32(std[c])
    return found


def predicted(logits: Sequence[float]) -> int:
    """The first class of those with the largest logit."""
    return max(range(len(logits)), key=lambda k: (logits[k], -k))
