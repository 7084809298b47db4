"""Deletion of supervoxels of a clip (Li et al. 2021, by the mean of the map)."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from oracles import curves, frames, regions
from oracles.curves import Model


def supervoxel_deletion(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, segments: Callable[[int], np.ndarray], *, supervoxels: int, fill: str,
) -> float:
    """Area under the target's probability while the regions of the largest mean go first."""
    areas = regions.segments(segments(supervoxels))
    values = [math.fsum(float(attribution.flat[p]) for p in area) / len(area) for area in areas]
    groups = [areas[n] for n in frames.ordered(frames.different(values))]
    curve = frames.removing(model, image, target, mean, std, seed, item, groups=groups, fill=fill)
    return curves.area(curve, range(len(groups) + 1), len(groups))


VARIANTS = [{"fill": "hold"}, {"fill": "mean"}, {"supervoxels": 12}]
