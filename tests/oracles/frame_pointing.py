"""Pointing game frame by frame (Li et al. 2021)."""

import numpy as np


def frame_pointing(attribution: np.ndarray, truth: np.ndarray) -> float:
    """Share of the frames with truth whose own first maximum lies in it; a frame of one value points nowhere."""
    hits = judged = 0
    for values, inside in zip(attribution, truth, strict=True):
        if inside.any():
            judged += 1
            # argmax of NumPy is the first maximum
            hits += bool(values.min() < values.max() and inside.flat[int(values.argmax())])
    return hits / judged
