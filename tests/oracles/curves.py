"""Probability curves while positions are removed, and the area under them."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from oracles import fills, maps

Model = Callable[[np.ndarray], np.ndarray]

LAST: list[list[float]] = []
"""The curve behind the last score, where an oracle keeps one: the vectors carry it beside the score."""


def kept(curve: Sequence[float]) -> list[float]:
    """Keep a curve for the vectors; the curve itself."""
    LAST[:] = [[float(v) for v in curve]]
    return LAST[0]


def log_softmax(logits: np.ndarray) -> list[float]:
    top = max(float(v) for v in logits)
    total = math.log(sum(math.exp(float(v) - top) for v in logits)) + top
    return [float(v) - total for v in logits]


def probability(model: Model, image: np.ndarray, target: int) -> float:
    return math.exp(log_softmax(model(image))[target])


def complement(model: Model, image: np.ndarray, target: int) -> float:
    """1 - p of the target, without cancellation: the sum of the other classes."""
    return sum(math.exp(v) for k, v in enumerate(log_softmax(model(image))) if k != target)


def cuts(steps: int, P: int) -> list[int]:
    """How many positions are removed at step 0..S."""
    return [(s * P) // steps for s in range(steps + 1)]


def area(curve: Sequence[float], counts: Sequence[int], P: int) -> float:
    """Trapezoid rule over the true fractions."""
    total = 0.0
    for s in range(len(counts) - 1):
        total += (curve[s] + curve[s + 1]) / 2 * (counts[s + 1] - counts[s]) / P
    return total


def removing(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, counts: Sequence[int], fill: str, most: bool,
) -> list[float]:
    """The target's probability with the k most (or least) relevant positions removed, for each k."""
    ranked = maps.order(maps.bilinear(attribution, image.shape[1:]))
    if not most:
        ranked = ranked[::-1]
    made = None if fill in fills.IMPUTED else fills.fill(fill, image, mean, std, seed, item)
    curve = []
    for k in counts:
        row = fills.removed(image, ranked[:k], fill, mean, std, seed, item, made)
        curve.append(probability(model, row, target))
    return curve
