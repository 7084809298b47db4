"""Insertion over the voxels of a clip (Li et al. 2021, after Petsiuk, Das and Saenko 2018)."""

from collections.abc import Sequence

import numpy as np

from oracles import curves, fills, maps
from oracles.curves import Model


def st_insertion(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, steps: int, fill: str,
) -> float:
    """Area under the target's probability while the most relevant voxels appear first in a clip that is all fill."""
    P = image[0].size
    counts = curves.cuts(steps, P)
    ranked = maps.order(attribution)
    made = None if fill in fills.IMPUTED else fills.fill(fill, image, mean, std, seed, item)
    curve = []
    for shown in counts:
        row = fills.removed(image, ranked[shown:], fill, mean, std, seed, item, made)
        curve.append(curves.probability(model, row, target))
    return curves.area(curves.kept(curve), counts, P)


VARIANTS = [{"fill": "hold"}, {"fill": "black"}, {"fill": "blur"}, {"fill": "mean-frame"}, {"steps": 16}]
