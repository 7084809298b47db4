"""The grids of the compiled imputation: what the removed positions of an image make, the same for all its channels.

The grids lie one after the other in flat rows of memory. A row of a grid is followed by at least one zero, and a grid lies
between zeros, so that no loop asks where the border is. Indices are unsigned: a signed one may count from the end, and asking
whether it does keeps a loop from the vector units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vxp.imputation.multigrid import DAMPING

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


NONE, ONE, TWICE, BLOCK, FEW = (np.uint64(value) for value in (0, 1, 2, 8, 30))
"""Whole numbers, unsigned: with a signed one the compiler would make a float of the sum. Runs are whole blocks, and a grid of
at most FEW points is solved directly."""
ZERO, QUARTER, HALF, FULL, TWO, FOUR, TWELFTH = (np.float32(value) for value in (0, 0.25, 0.5, 1, 2, 4, 1 / 12))
GAP = np.uint64(16)
"""Positions without a removed one: passing over fewer costs more than counting them."""


class Grids(NamedTuple):  # which the compiler knows, as it knows no dataclass
    """All grids of an image, the finest first. A stencil is symmetric, so it is kept to the east and to the south only."""

    table: Array  # uint64 [levels, 5]: height, width, length of a row in memory, first position, first row in `first`
    weights: Array  # float32 [points]: 12 D of the finest grid, a whole number
    smooth: Array  # float32 [points]: what Jacobi's sweep multiplies the residual by, 0 where nothing is to be solved
    centre: Array  # float32 [points]: the operator's diagonal, and what links a point with the next ones
    east: Array
    south: Array
    southeast: Array
    southwest: Array
    first: Array  # uint64 [rows + 1]: the first run of a row; those of a row are passed over together
    runs: Array  # uint64 [runs, 2]: begin and end, whole blocks that hold a position to be solved
    inverse: Array  # float32 [n, n]: of the coarsest grid


def grids_of(removed: Array) -> Grids:
    """The grids of the removed positions, bool [H, W] with both at least 2."""
    table, points = _table(*removed.shape)
    weights, smooth, centre, east, south, southeast, southwest = np.zeros((7, points), np.float32)
    rows, blocks = int(table[:, 0].sum()), int((table[:, 0] * (table[:, 2] // BLOCK)).sum())
    lines = np.zeros((5, removed.shape[1] + 4 * int(BLOCK)), np.float32)
    grids = Grids(table, weights, smooth, centre, east, south, southeast, southwest, np.zeros(rows + 1, np.uint64),
                  np.zeros((blocks, 2), np.uint64), np.zeros((0, 0), np.float32))
    prepare(removed, grids, lines)
    return grids._replace(inverse=_inverse(grids))


def _table(H: int, W: int) -> tuple[Array, int]:
    sizes = [(H, W)]
    while len(sizes) < 2 or sizes[-1][0] * sizes[-1][1] > FEW:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    block = int(BLOCK)
    rows, points, row = [], 0, 0
    for h, w in sizes:
        length = (w + block) // block * block
        points += length + block
        rows.append((h, w, length, points, row))
        points, row = points + (h + 1) * length, row + h
    return np.array(rows, np.uint64), points + 2 * block


def _inverse(grids: Grids) -> Array:
    h, w, length, begin, _ = (int(value) for value in grids.table[-1])
    place = begin + np.arange(h)[:, None] * length + np.arange(w)
    number = np.arange(h * w).reshape(h, w)
    matrix = np.zeros((h * w, h * w))
    for values, here, there in (
        (grids.east, np.s_[:, :-1], np.s_[:, 1:]), (grids.south, np.s_[:-1], np.s_[1:]),
        (grids.southeast, np.s_[:-1, :-1], np.s_[1:, 1:]), (grids.southwest, np.s_[:-1, 1:], np.s_[1:, :-1]),
    ):
        matrix[number[here], number[there]] = values[place[here]]
    matrix += matrix.T
    diagonal = grids.centre[place].ravel().astype(np.float64)
    # coarse points that reach the same few removed pixels only are twins: a trace on the diagonal keeps them solvable
    np.fill_diagonal(matrix, np.where(diagonal > 0, diagonal * (1 + 1e-6), 1))
    return np.linalg.inv(matrix).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------- compiled


@inlined
def place(grids: Grids, level: int) -> tuple[Any, Any, Any, Any, Any]:
    """A row of the table."""
    table = grids.table
    return table[level, 0], table[level, 1], table[level, 2], table[level, 3], table[level, 4]


@inlined
def _finest(removed: Array, grids: Grids) -> None:
    """The stencil of A = D - W on the removed positions: direct neighbours 1/6, diagonal ones 1/12."""
    smooth, weights = grids.smooth, grids.weights
    H, W, length, begin, _ = place(grids, 0)
    for i in range(H):
        for j in range(W):
            smooth[begin + i * length + j] = np.float32(removed[i, j])
    for i in range(H):
        here, end = begin + i * length, begin + i * length + W
        # the kernel of W is ([1 2 1] x [1 2 1] - 4 delta)/12, of which 3 of 4 lie inside at a border
        down = FOUR - np.float32(i == NONE) - np.float32(i + ONE == H)
        for j in range(here, end):
            weights[j] = FOUR * down - FOUR
        weights[here] -= down
        weights[end - ONE] -= down
        for j in range(here, end):
            grids.centre[j] = smooth[j] * weights[j] * TWELFTH
        for j in range(here, end):
            grids.east[j] = -TWO * TWELFTH * smooth[j] * smooth[j + ONE]
        for j in range(here, end):
            grids.south[j] = -TWO * TWELFTH * smooth[j] * smooth[j + length]
        for j in range(here, end):
            grids.southeast[j] = -TWELFTH * smooth[j] * smooth[j + length + ONE]
        for j in range(here, end):
            grids.southwest[j] = -TWELFTH * smooth[j] * smooth[j + length - ONE]
    for i in range(H):
        # D^-1 A has its high frequencies in [2/3, 4/3], so undamped Jacobi thirds them
        for j in range(begin + i * length, begin + i * length + W):
            smooth[j] *= np.float32(12) / weights[j]


@inlined
def _joined_rows(grids: Grids, lines: Array, here: int, length: int, size: tuple[int, int, bool]) -> None:
    """P^T A P along the rows: one coarse row's links within itself and to the row below it, from its fine row `here`.

    Coarse points are the even ones; an odd point lies half in each of its neighbours, beyond the last of them wholly in it.
    """
    centre, east, south, southeast, southwest = grids.centre, grids.east, grids.south, grids.southeast, grids.southwest
    _, w, alone = size
    part = FULL if alone else HALF  # of the fine row below
    for k in range(w):
        j = here + k
        lines[0, k + BLOCK] = (centre[j] + QUARTER * centre[j - length] + south[j - length]
                               + part * (part * centre[j + length] + TWO * south[j]))
    for k in range(w):
        j = here + k
        lines[1, k + BLOCK] = (east[j] + QUARTER * east[j - length]
                               + HALF * (southeast[j - length] + southwest[j - length + ONE])
                               + part * (part * east[j + length] + southeast[j] + southwest[j + ONE]))
    for k in range(w):
        j = here + k
        lines[2, k + BLOCK] = HALF * (southwest[j] + southwest[j + length]) + QUARTER * east[j + length - ONE]
    for k in range(w):
        j = here + k
        lines[3, k + BLOCK] = HALF * (south[j] + south[j + length]) + QUARTER * centre[j + length]
    for k in range(w):
        j = here + k
        lines[4, k + BLOCK] = HALF * (southeast[j] + southeast[j + length]) + QUARTER * east[j + length]
    for k in range(w + BLOCK, w + TWICE * BLOCK):
        for line in range(5):
            lines[line, k] = ZERO


@inlined
def _joined_columns(grids: Grids, lines: Array, at: int, size: tuple[int, int, bool], lowest: bool) -> None:
    """The same along the columns, into the coarse row `at`: its last column may hold a fine one alone."""
    same, across, downleft, down, downright = lines[0], lines[1], lines[2], lines[3], lines[4]
    m, w, _ = size
    last, end = at + m - ONE, TWICE * m - TWICE + BLOCK
    alone = np.float32(w == TWICE * m)
    for k in range(m):
        j = TWICE * k + BLOCK
        grids.centre[at + k] = same[j] + QUARTER * (same[j - ONE] + same[j + ONE]) + across[j - ONE] + across[j]
    grids.centre[last] += alone * (np.float32(0.75) * same[end + ONE] + across[end])
    for k in range(m):
        j = TWICE * k + BLOCK
        grids.east[at + k] = HALF * (across[j] + across[j + ONE]) + QUARTER * same[j + ONE]
    grids.east[last] = ZERO
    if lowest:
        return
    for k in range(m):
        j = TWICE * k + BLOCK
        grids.south[at + k] = (down[j] + QUARTER * (down[j - ONE] + down[j + ONE])
                               + HALF * (downright[j - ONE] + downleft[j] + downright[j] + downleft[j + ONE]))
    grids.south[last] += alone * (np.float32(0.75) * down[end + ONE] + HALF * (downright[end] + downleft[end + ONE]))
    for k in range(m):
        j = TWICE * k + BLOCK
        grids.southeast[at + k] = HALF * (downright[j] + downright[j + ONE]) + QUARTER * down[j + ONE]
    grids.southeast[last] = ZERO
    for k in range(m):
        j = TWICE * k + BLOCK
        grids.southwest[at + k] = HALF * (downleft[j] + downleft[j - ONE]) + QUARTER * down[j - ONE]
    grids.southwest[at] = ZERO


@inlined
def _sweeps(grids: Grids, level: int) -> None:
    """Jacobi's factors of a coarse grid.

    Four coarse points around one removed pixel see the same pixel, and D^-1 A reaches 4 there: damping by the row's sum keeps
    every sweep a contraction, without which the preconditioner is indefinite and the iteration breaks down.
    """
    centre, east, south, southeast, southwest = grids.centre, grids.east, grids.south, grids.southeast, grids.southwest
    n, m, length, begin, _ = place(grids, level)
    for i in range(n):
        for j in range(begin + i * length, begin + i * length + m):
            total = centre[j] + abs(east[j]) + abs(east[j - ONE]) + abs(south[j]) + abs(south[j - length])
            total += abs(southeast[j]) + abs(southeast[j - length - ONE])
            total += abs(southwest[j]) + abs(southwest[j - length + ONE])
            # a coarse point that touches no removed pixel has no equation
            grids.smooth[j] = np.float32(DAMPING) / max(centre[j], HALF * total) if centre[j] > ZERO else ZERO


@inlined
def _runs(grids: Grids) -> None:
    """The runs of all rows: blocks without a position to be solved are passed over, unless few lie between two others."""
    smooth, first, runs = grids.smooth, grids.first, grids.runs
    count, row = NONE, NONE
    for level in range(len(grids.table)):
        h, _, length, begin, _ = place(grids, level)
        for i in range(h):
            first[row] = count
            for at in range(begin + i * length, begin + i * length + length, BLOCK):
                total = ZERO
                for j in range(at, at + BLOCK):
                    total += smooth[j]
                if total > ZERO:
                    if count == first[row] or at > runs[count - ONE, 1] + GAP:
                        runs[count, 0] = at
                        count += ONE
                    runs[count - ONE, 1] = at + BLOCK
            row += ONE
    first[row] = count


@compiled
def prepare(removed: Array, grids: Grids, lines: Array) -> None:
    """Fill the grids, of which nothing but the table is known yet; `lines` is [5, W + 32]."""
    _finest(removed, grids)
    for level in range(1, len(grids.table)):
        h, w, step, of, _ = place(grids, level - 1)
        n, m, length, begin, _ = place(grids, level)
        for i in range(n):
            size = (m, w, TWICE * i + TWICE == h)
            _joined_rows(grids, lines, of + TWICE * i * step, step, size)
            _joined_columns(grids, lines, begin + i * length, size, i + ONE == n)
        _sweeps(grids, level)
    _runs(grids)
