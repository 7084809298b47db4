"""Deletion of tubes of a clip: one place in all frames."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from oracles import curves, frames
from oracles.curves import Model


def tube_deletion(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, steps: int, fill: str,
) -> float:
    """Area under the target's probability while the tubes of the largest sum go first."""
    sums = [math.fsum(float(v) for v in column) for column in attribution.reshape(len(attribution), -1).T]
    order = frames.ordered(frames.different(sums))
    places = frames.tubes(image)
    counts = curves.cuts(steps, len(places))
    bites = [[p for tube in order[a:b] for p in places[tube]] for a, b in pairwise(counts)]
    curve = frames.removing(model, image, target, mean, std, seed, item, groups=bites, fill=fill)
    return curves.area(curves.kept(curve), counts, len(places))


VARIANTS = [{"fill": "mean"}, {"fill": "noise"}, {"fill": "mean-frame"}, {"steps": 1}]
