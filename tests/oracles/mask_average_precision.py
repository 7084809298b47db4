"""Average precision of a map's order against a truth, without interpolation."""

import numpy as np

from oracles import maps


def mask_average_precision(image: np.ndarray, attribution: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the truth's positions of the precision at their rank."""
    hits, total = 0, 0.0
    for rank, place in enumerate(maps.order(maps.bilinear(attribution, image.shape[1:])), 1):
        if truth.flat[place]:
            hits += 1
            total += hits / rank
    return total / hits
