"""Linear interpolation between the shown pixels of an image, pixel by pixel and in integers.

SciPy proposes a triangle around each hidden pixel; that no shown pixel lies inside its circumcircle is checked in integers.
The shown pixels on that circle are the corners of its cell, which is cut into a fan from the first of them.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy.spatial import Delaunay

Point = tuple[int, int]


def cross(a: Point, b: Point, c: Point) -> int:
    """Twice the signed area of a triangle."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def weights(triangle: Sequence[Point], at: Point) -> list[int] | None:
    """The areas opposite to the three corners; None where the point lies outside or the triangle is flat."""
    a, b, c = triangle
    turn = cross(a, b, c)
    parts = [cross(b, c, at), cross(c, a, at), cross(a, b, at)]
    if turn < 0:
        parts = [-part for part in parts]
    return parts if turn and min(parts) >= 0 else None


def inside(triangle: Sequence[Point], points: np.ndarray) -> np.ndarray:
    """Per point a number that is above 0 inside the circumcircle, 0 on it and below 0 outside."""
    a, b, c = (np.array(corner) - points for corner in triangle)
    lift = [(d**2).sum(1) for d in (a, b, c)]
    minors = [u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] for u, v in ((b, c), (c, a), (a, b))]
    turn = 1 if cross(*triangle) > 0 else -1
    return np.asarray(turn * sum(one * other for one, other in zip(lift, minors, strict=True)))


def cell(points: np.ndarray, triangle: Sequence[Point]) -> list[Point]:
    """The shown pixels on the circle of a triangle, in row-major order; none is inside."""
    deep = inside(triangle, points)
    assert deep.max() == 0
    return [(int(y), int(x)) for y, x in points[deep == 0]]


def fan(corners: list[Point], at: Point) -> list[Point]:
    """The triangle with the pixel, of the fan from the first corner: the other two are neighbours on the circle."""
    first = corners[0]
    for i, u in enumerate(corners[1:], 1):
        for v in corners[i + 1 :]:
            beyond = [p for p in corners if cross(u, v, p) * cross(u, v, first) < 0]
            if not beyond and weights([first, u, v], at):
                return [first, u, v]
    raise AssertionError("a pixel lies in one triangle of its cell")


def interpolated(levels: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The 8-bit image [3, H, W] with the hidden pixels between the shown ones and the corners; halves to the even level."""
    found = _made(levels.astype(np.uint8).tobytes(), shown.astype(bool).tobytes(), levels.shape)
    return np.frombuffer(found, dtype=np.uint8).reshape(levels.shape).astype(np.int64)


@lru_cache(maxsize=4096)
def _made(level_bytes: bytes, shown_bytes: bytes, shape: tuple[int, int, int]) -> bytes:
    levels = np.frombuffer(level_bytes, dtype=np.uint8).reshape(shape)
    known = np.frombuffer(shown_bytes, dtype=bool).reshape(shape[1:]).copy()
    H, W = known.shape
    for corner in ((0, 0), (0, W - 1), (H - 1, 0), (H - 1, W - 1)):
        known[corner] = True
    points, hidden, out = np.argwhere(known), np.argwhere(~known), levels.copy()
    proposed = Delaunay(points)
    around = [int(place) for place in proposed.find_simplex(hidden)] if len(hidden) else []
    cells = {place: cell(points, [(int(y), int(x)) for y, x in points[proposed.simplices[place]]]) for place in set(around)}
    for (y, x), place in zip(hidden.tolist(), around, strict=True):
        triangle = fan(cells[place], (y, x))
        parts = weights(triangle, (y, x))
        assert parts is not None
        for c in range(len(levels)):
            total = sum(part * int(levels[c][corner]) for part, corner in zip(parts, triangle, strict=True))
            out[c, y, x] = round(Fraction(total, sum(parts)))
    return out.tobytes()
