"""Pointing game over space and time (Zhang et al. 2018), without a tolerance."""

import math

import numpy as np


def st_pointing(attribution: np.ndarray, truth: np.ndarray) -> float:
    """1 where the first maximum lies in the truth."""
    best, hit = -math.inf, False
    for place in np.ndindex(*attribution.shape):
        if attribution[place] > best:
            best, hit = float(attribution[place]), bool(truth[place])
    return float(hit)
