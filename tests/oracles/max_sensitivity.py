"""Max-sensitivity (Yeh et al. 2019), relative as in the authors' code."""

import math
from collections.abc import Callable

import numpy as np

from oracles import maps, philox


def max_sensitivity(
    image: np.ndarray, attribution: np.ndarray, target: int, seed: int, item: str,
    explain: Callable[[np.ndarray, int], np.ndarray], *, samples: int, radius: float,
) -> float:
    """Largest ||e(x + d) - e(x)|| / ||e(x)|| over draws d, uniform in a cube around x; the class stays that of x."""
    space = image.shape[1:]
    here = maps.bilinear(attribution, space).astype(np.float64)
    key = philox.key(seed, item, "max-sensitivity@1", "noise")
    largest = 0.0
    for draw in range(samples):
        u = philox.uniforms(key, draw, image[0].size)[: len(image)].reshape(image.shape)
        there = maps.bilinear(explain(image + radius * (2 * u - 1), target), space).astype(np.float64)
        largest = max(largest, norm(there - here) / norm(here))
    return largest


def norm(values: np.ndarray) -> float:
    return math.sqrt(sum(float(v) ** 2 for v in values.ravel()))


VARIANTS = [{}, {"radius": 0.02}]
