"""The imputation of one image on a CPU: conjugate gradients with a V-cycle, compiled, channel by channel.

A tensor library makes about 700 passes over the image for one system. Here one step makes three passes over the finest grid,
and each does all that can be done while its row lies in the cache. The vectors are float32. Only A p of the finest grid is
added up in float64: the iteration then knows the residual of what it has found, where little is known too, and needs no
second round to correct itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vxp.imputation.grids import (
    BLOCK,
    FEW,
    FULL,
    HALF,
    NONE,
    ONE,
    TWELFTH,
    TWICE,
    TWO,
    ZERO,
    Array,
    Grids,
    compiled,
    grids_of,
    inlined,
    place,
)
from vxp.imputation.multigrid import STEPS

POSITIVE = np.int32(0x7FFFFFFF)
"""The bits of a float32 without its sign: as whole numbers they are in the order of the absolute values, NaN the largest."""


class Work(NamedTuple):
    """The vectors of one system, float32 [points] over all grids."""

    r: Array  # the residual, on a coarse grid the restricted one
    u: Array  # the correction of a grid on its way down and up
    v: Array  # the residual that is left on the way down, and the grid's correction after the way up; A p
    p: Array  # the direction of the search, on the finest grid
    x: Array  # the solution, on the finest grid
    bits: Array  # v as int32
    line: Array  # float32 [W + 62]: a row of a grid, or the coarsest one


def imputed(image: Array, removed: Array, tolerance: float) -> Array:
    """float32 [C, H, W] that equals the image at the known positions; `removed` bool [H, W] leaves at least one of them."""
    C, H, W = image.shape
    filled = image.copy()
    if min(H, W) == 1:
        # a pixel between two neighbours of one weight: the solution is linear from a known one to the next
        gone = removed.ravel()
        for row in filled.reshape(C, -1):
            row[gone] = np.interp(np.flatnonzero(gone), np.flatnonzero(~gone), row[~gone])
        return filled
    grids = grids_of(np.ascontiguousarray(removed))
    r, u, v, p, x = np.zeros((5, len(grids.smooth)), np.float32)
    work = Work(r, u, v, p, x, v.view(np.int32), np.zeros(W + 4 * int(BLOCK) + int(FEW), np.float32))
    for channel in filled:
        solve(channel, grids, work, int(np.float32(tolerance).view(np.int32)))
    return filled


# ---------------------------------------------------------------------------------------------------------- one row


@inlined
def _neighbours(x: Array, j: int, length: int) -> Any:
    """12 W x at a position of the finest grid."""
    return (x[j - length - ONE] + x[j - length + ONE] + x[j + length - ONE] + x[j + length + ONE]
            + TWO * (x[j - length] + x[j + length] + x[j - ONE] + x[j + ONE]))


@inlined
def _applied(x: Array, y: Array, grids: Grids, length: int, start: int, end: int) -> None:
    """y = A x on a run of the finest grid, in float64."""
    weights, smooth = grids.weights, grids.smooth
    for j in range(start, end):
        direct = np.float64(x[j - length]) + np.float64(x[j + length]) + np.float64(x[j - ONE]) + np.float64(x[j + ONE])
        around = (np.float64(x[j - length - ONE]) + np.float64(x[j - length + ONE])
                  + np.float64(x[j + length - ONE]) + np.float64(x[j + length + ONE]) + 2.0 * direct)
        value = np.float32((np.float64(weights[j]) * np.float64(x[j]) - around) * (1 / 12))
        y[j] = value if smooth[j] > ZERO else ZERO


@inlined
def _left(work: Work, grids: Grids, length: int, start: int, end: int) -> None:
    """v = r - A u on a run of a coarse grid."""
    r, u, v = work.r, work.u, work.v
    centre, east, south, southeast, southwest = grids.centre, grids.east, grids.south, grids.southeast, grids.southwest
    # two loops: the compiler compares too many addresses for one
    for j in range(start, end):
        v[j] = (r[j] - centre[j] * u[j] - east[j] * u[j + ONE] - east[j - ONE] * u[j - ONE]
                - south[j] * u[j + length] - southeast[j] * u[j + length + ONE] - southwest[j] * u[j + length - ONE])
    for j in range(start, end):
        v[j] -= (south[j - length] * u[j - length] + southeast[j - length - ONE] * u[j - length - ONE]
                 + southwest[j - length + ONE] * u[j - length + ONE])


# ---------------------------------------------------------------------------------------------------------- the V-cycle


@inlined
def _down_finest(work: Work, grids: Grids, alpha: Any) -> None:
    """r -= alpha A p, a sweep u, and what it leaves: r - A u = W u, since u = r/D."""
    r, u, v, first, runs, smooth = work.r, work.u, work.v, grids.first, grids.runs, grids.smooth
    H, _, length, _, _ = place(grids, 0)
    for i in range(H + ONE):  # the next row's sweep before what this row leaves
        if i < H:
            for run in range(first[i], first[i + ONE]):
                start, end = runs[run, 0], runs[run, 1]
                for j in range(start, end):
                    r[j] -= alpha * v[j]
                for j in range(start, end):
                    u[j] = smooth[j] * r[j]
        if i > NONE:
            for run in range(first[i - ONE], first[i]):
                start, end = runs[run, 0], runs[run, 1]
                for j in range(start, end):
                    v[j] = TWELFTH * _neighbours(u, j, length) if smooth[j] > ZERO else ZERO


@inlined
def _down(work: Work, grids: Grids, level: int) -> None:
    """A sweep u on a coarse grid, and what it leaves."""
    r, u, first, runs, smooth = work.r, work.u, grids.first, grids.runs, grids.smooth
    h, _, length, _, base = place(grids, level)
    for i in range(h + ONE):
        if i < h:
            for run in range(first[base + i], first[base + i + ONE]):
                start, end = runs[run, 0], runs[run, 1]
                for j in range(start, end):
                    u[j] = smooth[j] * r[j]
        if i > NONE:
            for run in range(first[base + i - ONE], first[base + i]):
                start, end = runs[run, 0], runs[run, 1]
                _left(work, grids, length, start, end)


@inlined
def _restricted(work: Work, grids: Grids, level: int) -> None:
    """r of the next grid from v of this one, by the exact transpose of the interpolation, which keeps the cycle symmetric."""
    r, v, line, smooth, runs = work.r, work.v, work.line, grids.smooth, grids.runs
    h, w, length, begin, _ = place(grids, level)
    n, m, step, to, base = place(grids, level + 1)
    for i in range(n):
        part = FULL if TWICE * i + TWICE == h else HALF
        for run in range(grids.first[base + i], grids.first[base + i + ONE]):
            start, end, column = runs[run, 0], runs[run, 1], runs[run, 0] - to - i * step
            of = begin + TWICE * (i * length + column) - ONE
            for k in range(TWICE * (end - start) + ONE):
                line[k] = v[of + k] + HALF * v[of + k - length] + part * v[of + k + length]
            if w == TWICE * m and column + end - start >= m:
                line[w - TWICE * column] *= TWO  # beyond the last coarse point it goes to it wholly
            for k in range(end - start):
                value = line[TWICE * k + ONE] + HALF * (line[TWICE * k] + line[TWICE * k + TWICE])
                r[start + k] = value if smooth[start + k] > ZERO else ZERO


@inlined
def _coarsest(work: Work, grids: Grids) -> None:
    last = len(grids.table) - 1
    n, m, length, begin, _ = place(grids, last)
    line, inverse = work.line, grids.inverse
    for i in range(n):
        for j in range(m):
            line[i * m + j] = work.r[begin + i * length + j]
    for i in range(n):
        for j in range(m):
            total = ZERO
            for of in range(n * m):
                total += inverse[i * m + j, of] * line[of]
            work.v[begin + i * length + j] = total


@inlined
def _prolonged(work: Work, grids: Grids, level: int, i: int) -> None:
    """Row i of u += the bilinear interpolation of the next grid's v, at the positions to be solved."""
    u, v, line, smooth, runs = work.u, work.v, work.line, grids.smooth, grids.runs
    h, w, length, begin, base = place(grids, level)
    _, m, step, of, _ = place(grids, level + 1)
    share = ZERO if i % TWICE == NONE or i + ONE == h else HALF
    for run in range(grids.first[base + i], grids.first[base + i + ONE]):
        start, half = runs[run, 0], (runs[run, 1] - runs[run, 0]) // TWICE
        column = (start - begin - i * length) // TWICE
        at = of + i // TWICE * step + column
        for k in range(half + ONE):
            line[k] = v[at + k] + share * (v[at + k + step] - v[at + k])
        if w == TWICE * m and column + half >= m:
            line[m - column] = line[m - column - ONE]  # beyond the last coarse point it stands alone
        for k in range(half):
            even, odd = start + TWICE * k, start + TWICE * k + ONE
            u[even] += line[k] if smooth[even] > ZERO else ZERO
            u[odd] += HALF * (line[k] + line[k + ONE]) if smooth[odd] > ZERO else ZERO


@inlined
def _up(work: Work, grids: Grids, level: int) -> None:
    """The next grid's correction added to a coarse grid's, and a sweep."""
    u, v, first, runs, smooth = work.u, work.v, grids.first, grids.runs, grids.smooth
    h, _, length, _, base = place(grids, level)
    for i in range(h + ONE):
        if i < h:
            _prolonged(work, grids, level, i)
        if i > NONE:
            for run in range(first[base + i - ONE], first[base + i]):
                start, end = runs[run, 0], runs[run, 1]
                _left(work, grids, length, start, end)
                for j in range(start, end):
                    v[j] = u[j] + smooth[j] * v[j]


@inlined
def _up_finest(work: Work, grids: Grids) -> tuple[Any, Any]:
    """The cycle's answer v: <r, v>, and its largest absolute value as bits. A sweep leaves u + (r - A u)/D = (r + W u)/D."""
    r, u, v, bits, first, runs, smooth = work.r, work.u, work.v, work.bits, grids.first, grids.runs, grids.smooth
    H, _, length, _, _ = place(grids, 0)
    product, largest = np.float64(0), np.int32(0)
    for i in range(H + ONE):
        if i < H:
            _prolonged(work, grids, 0, i)
        if i > NONE:
            for run in range(first[i - ONE], first[i]):
                start, end = runs[run, 0], runs[run, 1]
                for j in range(start, end):
                    v[j] = smooth[j] * (r[j] + TWELFTH * _neighbours(u, j, length))
                part = ZERO
                for j in range(start, end):
                    part += r[j] * v[j]
                product += part
                for j in range(start, end):
                    largest = max(largest, bits[j] & POSITIVE)
    return product, largest


# ---------------------------------------------------------------------------------------------------------- the solver


@inlined
def _started(image: Array, work: Work, grids: Grids) -> None:
    """x is the mean of the known pixels, and r = -A x with the known pixels in their places."""
    r, u, v, p, x, first, runs = work.r, work.u, work.v, work.p, work.x, grids.first, grids.runs
    H, W, length, begin, _ = place(grids, 0)
    total, count = np.float64(0), np.float64(0)
    for i in range(H):
        part, number = ZERO, ZERO
        for j in range(W):
            known = grids.smooth[begin + i * length + j] == ZERO
            part += image[i, j] if known else ZERO
            number += FULL if known else ZERO
        total += part
        count += number
    mean = np.float32(total / count)
    for i in range(H):
        for j in range(W):
            u[begin + i * length + j] = image[i, j] if grids.smooth[begin + i * length + j] == ZERO else mean
    for i in range(H):
        for run in range(first[i], first[i + ONE]):
            start, end = runs[run, 0], runs[run, 1]
            _applied(u, v, grids, length, start, end)
            for j in range(start, end):
                r[j] = -v[j]
            for j in range(start, end):
                v[j] = ZERO
            for j in range(start, end):
                p[j] = ZERO
            for j in range(start, end):
                x[j] = mean
    for j in range(begin, begin + H * length):
        u[j] = ZERO


@inlined
def _moved(work: Work, grids: Grids, along: Array, alpha: Any) -> None:
    """x += alpha times a vector."""
    x, runs = work.x, grids.runs
    for run in range(grids.first[grids.table[0, 0]]):
        start, end = runs[run, 0], runs[run, 1]
        for j in range(start, end):
            x[j] += alpha * along[j]


@inlined
def _turned(work: Work, grids: Grids, beta: Any) -> float:
    """p = the cycle's answer + beta p, then v = A p: <p, A p>."""
    v, p, first, runs = work.v, work.p, grids.first, grids.runs
    H, _, length, _, _ = place(grids, 0)
    curvature = np.float64(0)
    for i in range(H + ONE):
        if i < H:
            for run in range(first[i], first[i + ONE]):
                start, end = runs[run, 0], runs[run, 1]
                for j in range(start, end):
                    p[j] = v[j] + beta * p[j]
        if i > NONE:
            for run in range(first[i - ONE], first[i]):
                start, end = runs[run, 0], runs[run, 1]
                _applied(p, v, grids, length, start, end)
                part = ZERO
                for j in range(start, end):
                    part += p[j] * v[j]
                curvature += part
    return curvature


@compiled
def solve(image: Array, grids: Grids, work: Work, tolerance: int) -> int:
    """The removed positions of a channel [H, W] solved in place; `tolerance` is given as the bits of a float32.

    The cycle's answer v estimates the error that is left. Where it is small enough it is added too, which leaves the part of it
    by which the cycle errs. Returns the number of cycles.
    """
    H, W, length, begin, _ = place(grids, 0)
    last = len(grids.table) - 1
    _started(image, work, grids)
    rho, alpha = np.inf, ZERO
    cycles = 0
    while True:
        _down_finest(work, grids, alpha)
        for level in range(last):
            if level > 0:
                _down(work, grids, level)
            _restricted(work, grids, level)
        _coarsest(work, grids)
        for level in range(last - 1, 0, -1):
            _up(work, grids, level)
        after, largest = _up_finest(work, grids)
        cycles += 1
        if not (largest > tolerance and after > 0 and cycles < STEPS):
            _moved(work, grids, work.v, FULL)
            break
        curvature = _turned(work, grids, np.float32(after / rho))
        if not curvature > 0:
            break
        rho, alpha = after, np.float32(after / curvature)
        _moved(work, grids, work.p, alpha)
    for i in range(H):
        for j in range(W):
            at = begin + i * length + j
            image[i, j] = image[i, j] if grids.smooth[at] == ZERO else work.x[at]
    return cycles
