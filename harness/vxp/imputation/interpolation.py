"""An image of which some pixels are shown and the others interpolated linearly between them, in integers throughout.

Every hidden pixel lies in a triangle of shown ones whose circumcircle has no shown pixel inside (Delaunay). On a grid of
integers many shown pixels lie on one circle, and any way to cut their polygon into triangles is Delaunay's: here it is the fan
from the first of them in row-major order, so that the image depends on nothing but the pixels that are shown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay

from vxp.errors import VxpError

Integers = NDArray[np.int64]


def interpolated(levels: NDArray[np.uint8], shown: NDArray[np.bool_], *, fan: bool = True) -> NDArray[np.uint8]:
    """The image [C, H, W] with the hidden pixels interpolated from the shown ones [H, W] and the four corners.

    A value between two levels goes to the nearer one, halves to the even one. Without `fan` the triangles are those of Qhull,
    as SciPy's `griddata` has them, which depend on Qhull's way of working. VxpError below 2 pixels a side.
    """
    if min(shown.shape) < 2:
        raise VxpError(f"an image of {shown.shape[0]} x {shown.shape[1]} pixels cannot be interpolated, expected at least "
                       "2 x 2: take rows:filled")
    known = shown.copy()
    known[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    hidden = np.argwhere(~known)
    image = levels.copy()
    if not len(hidden):
        return image
    triangles = _fans(known, hidden) if fan else _of_qhull(known, hidden)
    weights = _weights(triangles, hidden)
    total = weights.sum(1)
    corners = levels[:, triangles[..., 0], triangles[..., 1]].astype(np.int64)
    whole, rest = np.divmod((corners * weights).sum(2), total)
    up = (2 * rest > total) | ((2 * rest == total) & (whole % 2 == 1))
    image[:, hidden[:, 0], hidden[:, 1]] = whole + up
    return image


def _of_qhull(known: NDArray[np.bool_], hidden: Integers) -> Integers:
    """Corners [N, 3, 2] of the triangle of each hidden pixel, Qhull's own."""
    points = np.argwhere(known)
    cut = Delaunay(points)
    return np.asarray(points[cut.simplices[cut.find_simplex(hidden)]])


def _fans(known: NDArray[np.bool_], hidden: Integers) -> Integers:
    """Corners [N, 3, 2] of the triangle of each hidden pixel: of the pixels on its circle the first, and two neighbours."""
    # a pixel with eight shown neighbours is no corner of a triangle with a hidden pixel: without it the others are the same
    near = known & binary_dilation(~known, np.ones((3, 3)))
    near[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    points = np.argwhere(near)
    cut = Delaunay(points)
    cell = _cells(points, cut)
    first = np.full(cell.max() + 1, len(points))
    np.minimum.at(first, cell, cut.simplices.min(1))
    sides, of = _sides(cut, cell)
    # every hidden pixel with every side of its cell
    begin = np.searchsorted(of, np.arange(len(first) + 1))
    mine = cell[cut.find_simplex(hidden)]
    count = begin[mine + 1] - begin[mine]
    pixel = np.repeat(np.arange(len(hidden)), count)
    side = np.arange(len(pixel)) - np.repeat(count.cumsum() - count, count) + begin[mine][pixel]
    corners = points[np.column_stack([first[mine][pixel], sides[side]])]
    inside = (_weights(corners, hidden[pixel]) >= 0).all(1) & (_cross(*np.moveaxis(corners, 1, 0)) != 0)
    # on a line between two triangles both give the same value
    _, one = np.unique(pixel[inside], return_index=True)
    return np.asarray(corners[inside][one])


def _cells(points: Integers, cut: Delaunay) -> Integers:
    """The cell [T] of every triangle: triangles on one circle are of one cell."""
    t, side = np.nonzero(cut.neighbors > np.arange(len(cut.simplices))[:, None])
    other = cut.neighbors[t, side]
    # of the other triangle the corner that is not on the common side
    beyond = cut.simplices[other].sum(1) - cut.simplices[t].sum(1) + cut.simplices[t, side]
    a, b, c = np.moveaxis(points[cut.simplices[t]] - points[beyond][:, None], 1, 0)
    lift_a, lift_b, lift_c = ((p**2).sum(1) for p in (a, b, c))
    zero = np.zeros_like(a)
    circle = lift_a * _cross(zero, b, c) + lift_b * _cross(zero, c, a) + lift_c * _cross(zero, a, b)
    joined = circle == 0
    links = coo_array((joined[joined], (t[joined], other[joined])), shape=(len(cut.simplices),) * 2)
    return np.asarray(connected_components(links, directed=False)[1].astype(np.int64))


def _sides(cut: Delaunay, cell: Integers) -> tuple[Integers, Integers]:
    """The sides of all cells, as pairs of points [M, 2], and the cell of each in rising order."""
    outer = np.where(cut.neighbors < 0, -1, cell[cut.neighbors]) != cell[:, None]
    t, k = np.nonzero(outer)
    place = np.argsort(cell[t], kind="stable")
    t, k = t[place], k[place]
    return np.column_stack([cut.simplices[t, (k + 1) % 3], cut.simplices[t, (k + 2) % 3]]), cell[t]


def _weights(triangles: Integers, at: Integers) -> Integers:
    """Weights [N, 3] of the corners [N, 3, 2] at these points [N, 2], as integers: twice the area on the other side, negative
    where the point lies outside."""
    a, b, c = np.moveaxis(triangles, 1, 0)
    turn = np.sign(_cross(a, b, c))
    return np.asarray(np.column_stack([_cross(b, c, at), _cross(c, a, at), _cross(a, b, at)]) * turn[:, None])


def _cross(a: Integers, b: Integers, c: Integers) -> Integers:
    """Twice the signed area [N] of triangles."""
    u, v = b - a, c - a
    return np.asarray(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
