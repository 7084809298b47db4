"""Clips of which only the most relevant frames are shown, and clips without them (Gkalelis et al. 2022)."""

import math
from collections.abc import Sequence

import numpy as np

from oracles import UndefinedError, fills, frames
from oracles.curves import Model


def rows(image: np.ndarray, attribution: np.ndarray, *, top: int, removal: str) -> tuple[np.ndarray, np.ndarray]:
    """The clip with the `top` first frames alone, and with the rest."""
    T = image.shape[1]
    if top >= T:
        raise UndefinedError("too-few-frames")
    q = frames.relevance(attribution) if attribution.ndim > 1 else [float(v) for v in attribution]
    order = frames.ordered(frames.different(q))
    size = image[0, 0].size

    def without(gone: Sequence[int]) -> np.ndarray:
        return fills.removed(image, [t * size + place for t in gone for place in range(size)], removal, (), (), 0, "")

    return without(order[top:]), without(order[:top])


def probability(model: Model, clip: np.ndarray, target: int, readout: str) -> float:
    logits = [float(z) for z in model(clip)]
    if readout == "sigmoid":
        return 1 / (1 + math.exp(-logits[target]))
    top = max(logits)
    return math.exp(logits[target] - top) / sum(math.exp(z - top) for z in logits)


def right(model: Model, clip: np.ndarray, labels: Sequence[int]) -> int:
    """Whether the first of the largest logits is that of a label."""
    return int(int(np.argmax(model(clip).astype(np.float32))) in [int(label) for label in labels])
