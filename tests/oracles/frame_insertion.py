"""Insertion of whole frames of a clip (the freezing of Maenttaeri et al. 2020 as a curve)."""

from collections.abc import Sequence

import numpy as np

from oracles import curves, fills, frames
from oracles.curves import Model


def frame_insertion(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, fill: str,
) -> float:
    """Area under the target's probability while the frames of the most positive relevance appear first."""
    order = frames.ordered(frames.different(frames.relevance(attribution)))
    places = frames.frames(image)
    made = None if fill in fills.IMPUTED else fills.fill(fill, image, mean, std, seed, item)
    curve = []
    for shown in range(len(order) + 1):
        hidden = [p for t in order[shown:] for p in places[t]]
        row = fills.removed(image, hidden, fill, mean, std, seed, item, made)
        curve.append(curves.probability(model, row, target))
    return curves.area(curves.kept(curve), range(len(order) + 1), len(order))


VARIANTS = [{"fill": "hold"}, {"fill": "mean"}, {"fill": "mean-frame"}, {"fill": "reverse"}, {"fill": "remove"}]
