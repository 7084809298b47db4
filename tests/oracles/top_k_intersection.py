"""Top-k intersection (Theiner, Mueller-Budack and Ewerth 2021)."""

import numpy as np

from oracles import maps


def top_k_intersection(image: np.ndarray, attribution: np.ndarray, truth: np.ndarray, *, k: int) -> float:
    """Share of the top positions inside the truth; k is stated for an image of 224 x 224 positions."""
    top = maps.order(maps.bilinear(attribution, image.shape[1:]))[: max(1, k * truth.size // 50176)]
    return sum(1 for place in top if truth.flat[place]) / len(top)


VARIANTS = [{}, {"k": 9000}]
