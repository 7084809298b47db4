"""Comprehensiveness (DeYoung et al. 2020), one item."""

from collections.abc import Sequence

import numpy as np

from oracles import curves
from oracles.curves import Model


def comprehensiveness(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, share: int, fill: str,
) -> float:
    """What the target's probability loses with the most relevant positions."""
    counts = [0, image[0].size * share // 100]
    whole, without = curves.removing(
        model, image, attribution, target, mean, std, seed, item, counts=counts, fill=fill, most=True)
    return whole - without


VARIANTS = [
    {"share": 1},
    {"share": 50, "fill": "black"},
    {"fill": "nli"},
]
