"""Average sensitivity: the mean instead of the largest change of max-sensitivity, on the same draws."""

from collections.abc import Callable

import numpy as np

from oracles import maps, philox
from oracles.max_sensitivity import norm


def average_sensitivity(
    image: np.ndarray, attribution: np.ndarray, target: int, seed: int, item: str,
    explain: Callable[[np.ndarray, int], np.ndarray], *, samples: int, radius: float,
) -> float:
    """Mean of ||e(x + d) - e(x)|| / ||e(x)|| over draws d, uniform in a cube around x; the class stays that of x."""
    C, H, W = image.shape
    here = maps.bilinear(attribution, (H, W)).astype(np.float64)
    key = philox.key(seed, item, "max-sensitivity@1", "noise")
    total = 0.0
    for draw in range(samples):
        u = philox.uniforms(key, draw, H * W)[:C].reshape(C, H, W)
        there = maps.bilinear(explain(image + radius * (2 * u - 1), target), (H, W)).astype(np.float64)
        total += norm(there - here) / norm(here)
    return total / samples
