"""The cycle and the conjugate gradients of imputation.py compiled for one channel of one image on one CPU thread.

A tensor library makes about 700 passes over the image for one system; here a pass does all that can be done while its row
lies in the cache. The grids are those of imputation.py, one after the other in one row of memory, each with a frame of zeros
one point wide, so that no loop asks where the border is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vxp.imputation.multigrid import COARSEST, DAMPING, REFINEMENTS, STEPS

Array = NDArray[Any]

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    # sums may be reordered, which vector units need; NaN and infinity keep their meaning
    made: Any = njit(nogil=True, cache=True, fastmath={"nsz", "arcp", "contract", "reassoc"}, error_model="numpy")(function)
    return cast(Function, made)


def inlined(function: Function) -> Function:
    """A part of a compiled function, copied into it. A call instead would go to code that this process optimised once, and in
    the next process, which takes the whole from the cache, to code optimised twice: other sums, other last bits."""
    made: Any = njit(inline="always")(function)
    return cast(Function, made)


TWO, FOUR, HALF, TWELFTH = (np.float32(value) for value in (2, 4, 0.5, 1 / 12))


class Grids(NamedTuple):  # which the compiler knows, as it knows no dataclass
    """What a set of removed positions makes: the same for all channels of an image."""

    sizes: Array  # int64 [levels, 2]
    starts: Array  # int64 [levels + 1], where each grid begins in a row of memory
    weights: Array  # float32 [H + 2, W + 2]: 12 D of the finest grid, a whole number
    stencils: Array  # float32 [9, points]: of the coarser grids
    smooths: Array  # float32 [points]: what Jacobi's sweep multiplies the residual by
    frees: Array  # float32 [points]
    inverse: Array  # float32 [n, n]: of the coarsest grid


def imputed(start: Array, removed: Array, tolerance: float) -> Array:
    """float32 [C, H, W] that equals `start` at the known positions; `removed` bool [H, W] leaves at least one of them."""
    grids = _grids(removed)
    found = np.pad(start, ((0, 0), (1, 1), (1, 1)))
    work = np.zeros((4, grids.starts[-1]), np.float32)
    for channel in found:
        solve(channel, grids, work, tolerance)
    return found[:, 1:-1, 1:-1].copy()


# --------------------------------------------------------------------------------------------------------------- grids


def _grids(removed: Array) -> Grids:
    H, W = removed.shape
    sizes = [(H, W)]
    while min(sizes[-1]) > COARSEST:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    starts = np.cumsum([0, *((h + 2) * (w + 2) for h, w in sizes)])
    stencils = np.zeros((9, starts[-1]), np.float32)
    smooths, frees = np.zeros(starts[-1], np.float32), np.zeros(starts[-1], np.float32)

    def framed(memory: Array, level: int) -> Array:
        h, w = sizes[level]
        grid: Array = memory[..., starts[level]:starts[level + 1]].reshape(*memory.shape[:-1], h + 2, w + 2)[..., 1:-1, 1:-1]
        return grid

    weights = _weights(H, W)
    free = framed(frees, 0)
    free[:] = removed
    # D^-1 A has its high frequencies in [2/3, 4/3], so undamped Jacobi thirds them
    framed(smooths, 0)[:] = 12 * free / np.maximum(weights[1:-1, 1:-1], 1)
    fine = np.zeros((3, 3, H, W), np.float32)
    finest(np.pad(free, 1), weights, fine)
    for level in range(1, len(sizes)):
        h, w = sizes[level]
        rows = np.zeros((3, 3, h, fine.shape[3]), np.float32)
        galerkin(fine, rows)
        # the other axis the same way, the grid and the offsets turned
        columns = np.zeros((3, 3, w, h), np.float32)
        galerkin(np.ascontiguousarray(rows.transpose(1, 0, 3, 2)), columns)
        fine = np.ascontiguousarray(columns.transpose(1, 0, 3, 2))
        centre = fine[1, 1]
        framed(frees, level)[:] = centre > 0
        # a coarse point that touches no removed pixel has no equation: give it x = 0
        centre[centre <= 0] = 1
        # four coarse points around one removed pixel see the same pixel, and D^-1 A reaches 4 there: damping by the row's sum
        # keeps every sweep a contraction, without which the preconditioner is indefinite and the iteration breaks down
        framed(smooths, level)[:] = DAMPING / np.maximum(centre, np.abs(fine).sum((0, 1)) / 2)
        framed(stencils, level)[:] = fine.reshape(9, h, w)
    return Grids(np.array(sizes), starts, weights, stencils, smooths, frees, _inverse(fine))


def _weights(H: int, W: int) -> Array:
    inside = np.pad(np.ones((H, W), np.float32), 2)
    rows = inside[:-2] + 2 * inside[1:-1] + inside[2:]
    both: Array = rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:] - 4 * inside[1:-1, 1:-1]
    return both


def _inverse(stencil: Array) -> Array:
    _, _, h, w = stencil.shape
    wide = np.zeros((h, w, h + 2, w + 2))
    row, column = np.indices((h, w))
    for down in range(3):
        for across in range(3):
            wide[row, column, row + down, column + across] = stencil[down, across]
    matrix = wide[:, :, 1:-1, 1:-1].reshape(h * w, h * w)
    diagonal = matrix.diagonal().copy()
    # coarse points that reach the same few removed pixels only are twins: a trace on the diagonal keeps them solvable
    np.fill_diagonal(matrix, np.where(diagonal > 0, diagonal * (1 + 1e-6), 1))
    return np.linalg.inv(matrix).astype(np.float32)


@compiled
def finest(free: Array, weights: Array, stencil: Array) -> None:
    """The stencils of A = D - W on the removed positions: [3, 3, H, W] by offset (down, across); `free` is framed."""
    for down in range(3):
        for across in range(3):
            share = TWELFTH if down != 1 and across != 1 else TWO * TWELFTH
            for i in range(stencil.shape[2]):
                for j in range(stencil.shape[3]):
                    if down == 1 and across == 1:
                        stencil[1, 1, i, j] = free[i + 1, j + 1] * weights[i + 1, j + 1] * TWELFTH
                    else:
                        stencil[down, across, i, j] = -share * free[i + 1, j + 1] * free[i + down, j + across]


@compiled
def galerkin(stencil: Array, coarse: Array) -> None:
    """P^T A P along the first grid axis, [3, 3, h, w] into zeros [3, 3, (h + 1) // 2, w].

    Coarse points are the even ones; an odd point lies half in each of its neighbours, beyond the last of them wholly in it.
    """
    _, _, h, w = stencil.shape
    for f in range(h):
        for g in range(max(f - 1, 0), min(f + 2, h)):
            for one in range(2):
                for other in range(2):
                    whole_f, whole_g = f % 2 == 0 or f == h - 1, g % 2 == 0 or g == h - 1
                    if (whole_f and one == 1) or (whole_g and other == 1):
                        continue
                    factor = (np.float32(1) if whole_f else HALF) * (np.float32(1) if whole_g else HALF)
                    row = f // 2 + one
                    step = g // 2 + other - row + 1
                    for across in range(3):
                        to, of = coarse[step, across, row], stencil[g - f + 1, across, f]
                        for j in range(w):
                            to[j] += factor * of[j]


# --------------------------------------------------------------------------------------------------------------- solver


@inlined
def _grid(memory: Array, level: int, sizes: Array, starts: Array) -> Array:
    return memory[starts[level]:starts[level + 1]].reshape(sizes[level, 0] + 2, sizes[level, 1] + 2)


@inlined
def _multiplied(x: Array, i: int, level: int, weights: Array, free: Array, stencils: Array, start: int, column: Array,
                out: Array) -> None:
    """out = row i of A x on a grid."""
    w = x.shape[1]
    if level == 0:
        # the kernel of W is ([1 2 1] x [1 2 1] - 4 delta)/12
        above, here, below, mask, weight = x[i - 1], x[i], x[i + 1], free[i], weights[i]
        for j in range(w):
            column[j] = above[j] + TWO * here[j] + below[j]
        for j in range(1, w - 1):
            around = column[j - 1] + TWO * column[j] + column[j + 1]
            out[j] = mask[j] * TWELFTH * ((weight[j] + FOUR) * here[j] - around)
        return
    for j in range(1, w - 1):
        out[j] = 0
    first = start + i * w
    for down in range(3):  # three sums of three: the compiler compares too many addresses for one of nine
        of = x[i + down - 1]
        left, middle = stencils[3 * down, first:first + w], stencils[3 * down + 1, first:first + w]
        right = stencils[3 * down + 2, first:first + w]
        for j in range(1, w - 1):
            out[j] += left[j] * of[j - 1] + middle[j] * of[j] + right[j] * of[j + 1]


@inlined
def _restricted(fine: Array, row: Array, coarse: Array) -> None:
    """The exact transpose of the interpolation, which keeps the preconditioner symmetric."""
    h, w = fine.shape[0] - 2, fine.shape[1] - 2
    n, m = coarse.shape[0] - 2, coarse.shape[1] - 2
    for i in range(n):
        above, here, below, to = fine[2 * i], fine[2 * i + 1], fine[2 * i + 2], coarse[i + 1]
        last = np.float32(1) if 2 * i + 2 == h else HALF
        for j in range(w + 2):
            row[j] = here[j] + HALF * above[j] + last * below[j]
        for j in range(m):
            to[j + 1] = row[2 * j + 1] + HALF * (row[2 * j] + row[2 * j + 2])
        if w % 2 == 0:
            to[m] += HALF * row[w]


@inlined
def _prolonged(coarse: Array, free: Array, row: Array, wide: Array, x: Array) -> None:
    """x += the bilinear interpolation of the coarser grid, at the free points."""
    h, w = x.shape[0] - 2, x.shape[1] - 2
    m = coarse.shape[1] - 2
    for i in range(h):
        this, after, to, mask = coarse[i // 2 + 1], coarse[i // 2 + 2], x[i + 1], free[i + 1]
        share = np.float32(0) if i % 2 == 0 or i == h - 1 else HALF
        for j in range(1, m + 1):
            row[j] = this[j] + share * (after[j] - this[j])
        row[m + 1] = row[m]  # beyond the last coarse point it stands alone
        for j in range(1, m + 1):
            wide[2 * j - 1] = row[j]
            wide[2 * j] = HALF * (row[j] + row[j + 1])
        for j in range(1, w + 1):
            to[j] += mask[j] * wide[j]


@inlined
def _cycle(grids: Grids, work: Array, lines: Array) -> None:
    """A V-cycle on the residual work[0] into work[3]: one Jacobi sweep down and one up on every grid."""
    sizes, starts, weights, stencils, smooths, frees, inverse = grids
    last = len(sizes) - 1
    column, row, wide = lines[0], lines[1], lines[2]
    free = _grid(frees, 0, sizes, starts)
    for level in range(last):
        r, x = _grid(work[0], level, sizes, starts), _grid(work[1], level, sizes, starts)
        t = _grid(work[2], level, sizes, starts)
        smooth = _grid(smooths, level, sizes, starts)
        h, w = r.shape
        for i in range(h - 1):  # the next row's sweep before this row's residual
            to, by, of = x[i + 1], smooth[i + 1], r[i + 1]
            for j in range(1, w - 1):
                to[j] = by[j] * of[j]
            if i > 0:
                _multiplied(x, i, level, weights, free, stencils, starts[level], column, row)
                to, of = t[i], r[i]
                for j in range(1, w - 1):
                    to[j] = of[j] - row[j]
        _restricted(t, row, _grid(work[0], level + 1, sizes, starts))
    r, z = _grid(work[0], last, sizes, starts), _grid(work[3], last, sizes, starts)
    h, w = sizes[last]
    for n in range(h * w):
        total = np.float32(0)
        for m in range(h * w):
            total += inverse[n, m] * r[m // w + 1, m % w + 1]
        z[n // w + 1, n % w + 1] = total
    for level in range(last - 1, -1, -1):
        r, x = _grid(work[0], level, sizes, starts), _grid(work[1], level, sizes, starts)
        z = _grid(work[3], level, sizes, starts)
        smooth = _grid(smooths, level, sizes, starts)
        _prolonged(_grid(work[3], level + 1, sizes, starts), _grid(frees, level, sizes, starts), row, wide, x)
        h, w = r.shape
        for i in range(1, h - 1):
            _multiplied(x, i, level, weights, free, stencils, starts[level], column, row)
            to, of, by, here = z[i], r[i], smooth[i], x[i]
            for j in range(1, w - 1):
                to[j] = here[j] + by[j] * (of[j] - row[j])


@inlined
def _dot(a: Array, b: Array) -> float:
    total = 0.0
    for i in range(1, a.shape[0] - 1):
        one, other = a[i], b[i]
        part: Any = np.float32(0)
        for j in range(1, a.shape[1] - 1):
            part += one[j] * other[j]
        total += part
    return total


@inlined
def _largest(x: Array) -> Any:
    largest: Any = np.float32(0)
    for i in range(1, x.shape[0] - 1):
        row = x[i]
        for j in range(1, x.shape[1] - 1):
            largest = max(largest, abs(row[j]))
    return largest


@compiled
def solve(found: Array, grids: Grids, work: Array, tolerance: float) -> None:
    """The framed image [H + 2, W + 2] with its removed positions solved, in place; `work` is [4, points]."""
    sizes, starts, weights, stencils, _, frees, _ = grids
    H, W = found.shape
    r, z, free = _grid(work[0], 0, sizes, starts), _grid(work[3], 0, sizes, starts), _grid(frees, 0, sizes, starts)
    x, p, q = (np.zeros((H, W), np.float32), np.zeros((H, W), np.float32), np.zeros((H, W), np.float32))
    lines = np.zeros((3, W + 2), np.float32)
    column = lines[0]
    for _ in range(REFINEMENTS):
        # the residual in float64: where little is known, float32 rounding of it is what limits the solution
        for i in range(1, H - 1):
            for j in range(1, W - 1):
                x[i, j] = 0
                around = (np.float64(found[i - 1, j - 1]) + found[i - 1, j + 1] + found[i + 1, j - 1] + found[i + 1, j + 1]
                          + 2 * (np.float64(found[i - 1, j]) + found[i + 1, j] + found[i, j - 1] + found[i, j + 1]))
                r[i, j] = free[i, j] * (around - np.float64(weights[i, j]) * found[i, j]) / 12
        _cycle(grids, work, lines)
        rho = _dot(r, z)
        for i in range(1, H - 1):
            for j in range(1, W - 1):
                p[i, j] = z[i, j]
        for _ in range(STEPS):
            # z estimates the error that is left
            if not (_largest(z) > tolerance and rho > 0):
                break
            for i in range(1, H - 1):
                _multiplied(p, i, 0, weights, free, stencils, 0, column, q[i])
            curvature = _dot(p, q)
            if not curvature > 0:
                break
            alpha = np.float32(rho / curvature)
            for i in range(1, H - 1):
                to, by, left, less = x[i], p[i], r[i], q[i]
                for j in range(1, W - 1):
                    to[j] += alpha * by[j]
                    left[j] -= alpha * less[j]
            _cycle(grids, work, lines)
            after = _dot(r, z)
            beta = np.float32(after / rho)
            rho = after
            for i in range(1, H - 1):
                to, of = p[i], z[i]
                for j in range(1, W - 1):
                    to[j] = of[j] + beta * to[j]
        for i in range(1, H - 1):
            for j in range(1, W - 1):
                found[i, j] += x[i, j]
        if not _largest(x) > 10 * tolerance:
            break
