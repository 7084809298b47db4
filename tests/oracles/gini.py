"""Gini index of a map (Chalasani et al. 2020; Hurley and Rickard 2009)."""

import numpy as np

from oracles import maps


def gini(image: np.ndarray, attribution: np.ndarray) -> float:
    """1 - 2 * sum over ascending absolute values of share * (P - k + 1/2)/P, k = 1..P."""
    sizes = sorted(abs(float(v)) for v in maps.bilinear(attribution, image.shape[1:]).ravel())
    P, total = len(sizes), sum(sizes)
    return 1 - 2 * sum(size / total * (P - k + 0.5) / P for k, size in enumerate(sizes, start=1))
