"""Deletion of whole frames of a clip (the freezing of Maenttaeri et al. 2020 as a curve)."""

from collections.abc import Sequence

import numpy as np

from oracles import curves, frames
from oracles.curves import Model


def frame_deletion(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, fill: str,
) -> float:
    """Area under the target's probability while the frames of the most positive relevance go first."""
    order = frames.ordered(frames.different(frames.relevance(attribution)))
    places = frames.frames(image)
    groups = [places[t] for t in order]
    curve = curves.kept(frames.removing(model, image, target, mean, std, seed, item, groups=groups, fill=fill))
    return curves.area(curve, range(len(order) + 1), len(order))


VARIANTS = [
    {"fill": "hold"},
    {"fill": "black"},
    {"fill": "mean"},
    {"fill": "blur"},
    {"fill": "noise"},
    {"fill": "mean-frame"},
    {"fill": "reverse"},
    {"fill": "remove"},
]
