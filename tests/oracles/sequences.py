"""Sequences of features of frames: rows without some fragments, and what a model of frame scores says of them."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from oracles import UndefinedError, fragments

Scorer = Callable[[np.ndarray], np.ndarray]


def filled(image: np.ndarray, gone: Collection[int], fill: str) -> np.ndarray:
    """The sequence [D, n] with a fill at these steps; under `remove` without them."""
    n = image.shape[1]
    kept = [t for t in range(n) if t not in gone]
    if fill == "remove":
        return image[:, kept]
    row = image.copy()
    mean = image.mean(axis=1).astype(np.float32).astype(np.float64)
    for t in gone:
        before, after = [s for s in kept if s < t], [s for s in kept if s > t]
        if fill == "hold" and kept:
            row[:, t] = image[:, before[-1] if before else after[0]]
        else:
            row[:, t] = mean if fill == "mean-step" else 0.0
    return row


def rescored(model: Scorer, image: np.ndarray, parts: Sequence[int], fill: str) -> fragments.Rescored:
    """The scores of all steps without some fragments, as float32 has them; 0 at those that are left out."""
    def of(removed: Collection[int]) -> list[float]:
        gone = [t for t, fragment in enumerate(parts) if fragment in removed]
        found = [float(v) for v in model(filled(image, gone, fill)).astype(np.float32)]
        if fill != "remove":
            return found
        left = iter(found)
        return [0.0 if t in gone else next(left) for t in range(len(parts))]

    return of


def compared(parts: Sequence[int], fill: str) -> Sequence[int] | None:
    """The fragment of every step, where steps that are gone are not compared."""
    return parts if fill == "remove" else None


def weights(attribution: np.ndarray, parts: Sequence[int]) -> list[float]:
    """The mean of the map [n] over the steps of every fragment."""
    steps = [[float(attribution[t]) for t, fragment in enumerate(parts) if fragment == k] for k in range(max(parts) + 1)]
    return [sum(values) / len(values) for values in steps]


def ranking(attribution: np.ndarray, parts: Sequence[int], needed: int) -> list[float]:
    """The same, where there are enough fragments and they are ranked."""
    found = weights(attribution, parts)
    if len(found) < needed:
        raise UndefinedError("too-few-fragments")
    if min(found) == max(found):
        raise UndefinedError("constant-groups")
    return found
