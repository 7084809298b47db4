"""Grid pointing game (Boehle, Fritz and Schiele 2021, eq. 9)."""

import numpy as np

from oracles import maps


def grid_pointing_game(image: np.ndarray, attribution: np.ndarray, truth: np.ndarray) -> float:
    """Positive relevance in the target's cells of the mosaic over all positive relevance."""
    positive = np.maximum(maps.bilinear(attribution, image.shape[1:]).astype(np.float64), 0.0)
    return float(sum(positive[truth])) / float(sum(positive.ravel()))
