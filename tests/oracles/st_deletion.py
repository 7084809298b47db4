"""Deletion over the voxels of a clip (Li et al. 2021, after Petsiuk, Das and Saenko 2018)."""

from collections.abc import Sequence

import numpy as np

from oracles import curves
from oracles.curves import Model


def st_deletion(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, steps: int, fill: str,
) -> float:
    """Area under the target's probability while the most relevant voxels are removed first."""
    P = image[0].size
    counts = curves.cuts(steps, P)
    curve = curves.kept(curves.removing(
        model, image, attribution, target, mean, std, seed, item, counts=counts, fill=fill, most=True))
    return curves.area(curve, counts, P)


VARIANTS = [
    {"fill": "hold"},
    {"fill": "black"},
    {"fill": "mean"},
    {"fill": "blur"},
    {"fill": "noise"},
    {"fill": "mean-frame"},
    {"steps": 16},
    {"steps": 1},
]
