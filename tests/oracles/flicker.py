"""How much a map changes from frame to frame; defined by this standard."""

from itertools import pairwise

import numpy as np

from oracles import UndefinedError


def flicker(attribution: np.ndarray) -> float:
    """Mean absolute step of the positive relevance of a place from a frame to the next, over the mean positive relevance."""
    T, H, W = attribution.shape
    if T == 1:
        raise UndefinedError("one-frame")
    positive = [[max(0.0, float(v)) for v in frame.ravel()] for frame in attribution]
    total = sum(map(sum, positive))
    if total == 0:
        raise UndefinedError("no-positive-mass")
    steps = sum(abs(after[p] - before[p]) for before, after in pairwise(positive) for p in range(H * W))
    return steps / ((T - 1) * H * W) / (total / (T * H * W))
