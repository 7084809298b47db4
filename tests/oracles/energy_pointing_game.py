"""Energy-based pointing game (Wang et al. 2020)."""

import numpy as np

from oracles import maps


def energy_pointing_game(image: np.ndarray, attribution: np.ndarray, truth: np.ndarray) -> float:
    """Positive relevance inside the truth over all positive relevance."""
    inside = total = 0.0
    values = maps.bilinear(attribution, image.shape[1:])
    for place in np.ndindex(*values.shape):
        positive = max(0.0, float(values[place]))
        total += positive
        if truth[place]:
            inside += positive
    return inside / total
