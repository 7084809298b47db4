"""What all metrics do to a map: resample, min-max, order; one map at a time."""

import numpy as np

from oracles import NotFiniteError


def bilinear(native: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """The map on another grid, corners not aligned, no antialiasing (5.3.2); float64 arithmetic, then float32."""
    if native.shape == space:
        return native.astype(np.float32)
    out = np.empty(space, dtype=np.float64)
    for y in range(space[0]):
        i, j, down = _neighbours(y, native.shape[0], space[0])
        for x in range(space[1]):
            left, right, across = _neighbours(x, native.shape[1], space[1])
            rows = ([float(native[r, left]), float(native[r, right])] for r in (i, j))
            top, bottom = (a + across * (b - a) for a, b in rows)
            out[y, x] = top + down * (bottom - top)
    return out.astype(np.float32)


def _neighbours(place: int, short: int, long: int) -> tuple[int, int, float]:
    # centres of pixels are at half-integers; before the first centre the first value goes on
    n = max(0, (2 * place + 1) * short - long)
    low = n // (2 * long)
    return low, min(low + 1, short - 1), (n - 2 * long * low) / (2 * long)


def on_clip(native: np.ndarray, space: tuple[int, ...], rule: str) -> np.ndarray:
    """The map [t, h, w] on the grid of a clip: x first, then y, then t; float64 arithmetic, then float32 (5.14.2)."""
    if native.shape == space:
        return native.astype(np.float32)
    linear = {"trilinear": (0, 1, 2), "frames": (1, 2), "nearest": ()}[rule]
    out = native.astype(np.float64)
    for axis in (2, 1, 0):
        planes, places = np.moveaxis(out, axis, 0), range(space[axis])
        short, long = len(planes), len(places)
        if axis in linear:
            near = [_neighbours(place, short, long) for place in places]
            found = [planes[i] + weight * (planes[j] - planes[i]) for i, j, weight in near]
        else:
            found = [planes[(2 * place + 1) * short // (2 * long)] for place in places]
        out = np.moveaxis(np.stack(found), 0, axis)
    return out.astype(np.float32)


def minmax(values: np.ndarray) -> np.ndarray:
    """The map shifted and scaled to [0, 1] by its own extremes; zeros for a constant map. Raises NotFiniteError where the
    extremes are too far apart for the type of the values."""
    low, high = values.min(), values.max()
    if float(high) - float(low) > float(np.finfo(values.dtype).max):
        raise NotFiniteError
    return np.zeros_like(values) if high == low else (values - low) / (high - low)


def order(values: np.ndarray) -> list[int]:
    """Positions from the highest to the lowest value; ties by row-major index."""
    flat = [float(v) for v in values.ravel()]
    return sorted(range(len(flat)), key=lambda place: (-flat[place], place))
