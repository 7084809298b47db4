"""The masked image of average drop, increase in confidence and average gain, in the dialect of L-CAM and TAME."""

import math
from collections.abc import Sequence

import numpy as np

from oracles import fills, maps


def masked(
    image: np.ndarray, attribution: np.ndarray, mean: Sequence[float], std: Sequence[float], seed: int, item: str, *,
    keep: int, mask: str, fill: str, ties: str,
) -> np.ndarray:
    """fill + mask*(input - fill) in the model's input space, one float32 operation after the other."""
    soft = maps.bilinear(maps.minmax(attribution.astype(np.float32)), image.shape[1:])
    kept = {"index": by_index, "tame": by_tame, "t-tame": by_t_tame, "p-tame": by_p_tame}[ties](soft, keep)
    weights = np.zeros(soft.shape, dtype=np.float32)
    for place in np.ndindex(*soft.shape):
        if kept[place]:
            weights[place] = soft[place] if mask == "soft" else 1.0
    return blended(image, fills.fill(fill, image, mean, std, seed, item), weights)


def blended(image: np.ndarray, fill: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Image and fill [C, H, W] blended by weights [H, W]: NumPy rounds each operation of two float32 numbers to float32."""
    out = image.astype(np.float32)
    other = fill.astype(np.float32)
    for c, y, x in np.ndindex(*out.shape):
        if weights[y, x] != 1:
            out[c, y, x] = other[c, y, x] + np.float32(weights[y, x]) * (out[c, y, x] - other[c, y, x])
    return out.astype(np.float64)


def by_index(soft: np.ndarray, keep: int) -> np.ndarray:
    """Exactly P - floor(P*(100-keep)/100) positions, the highest, ties by index."""
    n = soft.size - soft.size * (100 - keep) // 100
    kept = np.zeros(soft.shape, dtype=bool)
    for place in maps.order(soft)[:n]:
        kept[place // soft.shape[1], place % soft.shape[1]] = True
    return kept


def by_tame(soft: np.ndarray, keep: int) -> np.ndarray:
    """Zero all below the n-th smallest value; then, if too many are non-zero, the surplus in raster order. The scripts name
    the share removed, as a decimal number, and subtract it from 1."""
    removed = (100 - keep) / 100
    n = int(soft.size * removed)
    if keep == 100:
        return np.ones(soft.shape, dtype=bool)
    threshold = sorted(soft.ravel())[n - 1]
    kept = np.asarray(soft >= threshold)
    surplus = int(np.count_nonzero(kept & (soft != 0))) - math.ceil((1 - removed) * soft.size)
    for place in np.ndindex(*soft.shape):
        if surplus > 0 and soft[place] == threshold:
            kept[place] = False
            surplus -= 1
    return kept


def by_t_tame(soft: np.ndarray, keep: int) -> np.ndarray:
    """Zero all below the interpolated quantile."""
    if keep == 100:
        return np.ones(soft.shape, dtype=bool)
    return np.asarray(soft >= np.quantile(soft.astype(np.float64), (100 - keep) / 100))


def by_p_tame(soft: np.ndarray, keep: int) -> np.ndarray:
    """Keep what is strictly above the n-th smallest value."""
    n = int(soft.size * (1 - keep / 100))
    if keep == 100:
        return np.ones(soft.shape, dtype=bool)
    return np.asarray(soft > sorted(soft.ravel())[n - 1])
