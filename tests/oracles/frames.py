"""Frames and tubes of a clip: what a map says of them, which frames have truth, and curves while whole groups go."""

import math
from collections.abc import Sequence

import numpy as np

from oracles import UndefinedError, curves, fills
from oracles.curves import Model


def relevance(values: np.ndarray) -> list[float]:
    """The positive relevance of every frame of a map [T, H, W]."""
    return [math.fsum(max(0.0, float(v)) for v in frame.ravel()) for frame in values]


def ordered(q: Sequence[float]) -> list[int]:
    """Groups from the most to the least relevant, of equal ones the first."""
    return sorted(range(len(q)), key=lambda group: (-q[group], group))


def different(q: Sequence[float]) -> Sequence[float]:
    """The same, if they rank anything."""
    if min(q) == max(q):
        raise UndefinedError("constant-groups")
    return q


def with_truth(truth: np.ndarray) -> set[int]:
    """The frames of a truth [T, H, W] that have some of it, neither none nor all."""
    found = {t for t, frame in enumerate(truth) if frame.any()}
    if not found:
        raise UndefinedError("empty-truth")
    if len(found) == len(truth):
        raise UndefinedError("full-truth")
    return found


def frames(clip: np.ndarray) -> list[list[int]]:
    """The positions of every frame of a clip [3, T, H, W]."""
    _, T, H, W = clip.shape
    return [[t * H * W + place for place in range(H * W)] for t in range(T)]


def tubes(clip: np.ndarray) -> list[list[int]]:
    """The positions of every tube: one place in all frames."""
    _, T, H, W = clip.shape
    return [[t * H * W + place for t in range(T)] for place in range(H * W)]


def removing(
    model: Model, clip: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float], seed: int, item: str, *,
    groups: Sequence[Sequence[int]], fill: str,
) -> list[float]:
    """The target's probability after each of these groups of positions has gone as well, from none to all of them."""
    made = None if fill in fills.IMPUTED else fills.fill(fill, clip, mean, std, seed, item)
    gone: list[int] = []
    curve = []
    for group in [[], *groups]:
        gone += group
        row = fills.removed(clip, gone, fill, mean, std, seed, item, made)
        curve.append(curves.probability(model, row, target))
    return curve
