"""Noisy linear imputation (ROAD, Rong et al. 2022), solved by multigrid on the model's device.

Every removed pixel is the weighted mean of its neighbours, direct ones 1/6 and diagonal ones 1/12, renormalised at the
border; known pixels are fixed. That is a sparse symmetric positive definite system A x = b with A = D - W on the removed
pixels. Conjugate gradients with a V-cycle as preconditioner needs about ten steps whatever the size of the holes; all
images of the batch and all channels go through it together, each stopping on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

NLI_NOISE = 0.01
"""Standard deviation of the noise on imputed pixels, per channel in raw space."""
TOLERANCE = 2e-6
"""Estimated error in raw units (the V-cycle of the residual, largest value) at which an image is done."""
STEPS = 60
REFINEMENTS = 4
COARSEST = 5
"""A grid of at most this many points along its shorter side is solved directly."""


def nli(raw: Tensor, removed: Tensor, *, mean: Sequence[float], tolerance: float = TOLERANCE) -> Tensor:
    """Images [N, C, H, W] with the removed positions [N, H, W] imputed, without noise; known pixels as they are.

    An image of which nothing is known becomes the mean. Equal to the direct sparse solve to 1e-4.
    """
    hidden = removed[:, None]
    known_mean = torch.tensor(mean, dtype=raw.dtype, device=raw.device).view(1, -1, 1, 1)
    nothing = removed.flatten(1).all(1).view(-1, 1, 1, 1)
    free = (hidden & ~nothing).to(raw.dtype)
    x = torch.where(hidden, _guess(raw, ~hidden, known_mean), raw)
    x = torch.where(nothing, known_mean.expand_as(x), x)
    top = Fine(free, _weight(free))
    cycle = _cycle(top)
    exact = Fine(free.double(), top.diagonal.double())
    for _ in range(REFINEMENTS):
        # the residual in float64: where little is known, float32 rounding of it is what limits the solution
        r = exact.residual(x.double()).to(x.dtype)
        correction = _conjugate_gradients(top, cycle, r, tolerance)
        x = torch.where(hidden & ~nothing, x + correction, x)
        if not bool((correction.abs() > 10 * tolerance).any()):
            break
    return x


def _guess(raw: Tensor, known: Tensor, mean: Tensor) -> Tensor:
    """A smooth first guess: averages of the known pixels over ever larger blocks, where finer ones have none."""
    weight = known.to(raw.dtype)
    total, count = raw * weight, weight
    pyramid = []
    while min(total.shape[2:]) > 1:
        pyramid.append((total, count))
        total, count = (F.avg_pool2d(t, 2, ceil_mode=True, count_include_pad=False) for t in (total, count))
    guess = torch.where(count > 0, total / count.clamp_min(1e-20), mean)
    for total, count in reversed(pyramid):
        wide = F.interpolate(guess, size=total.shape[2:], mode="bilinear", align_corners=False)
        guess = torch.where(count > 0, total / count.clamp_min(1e-20), wide)
    return guess


# -------------------------------------------------------------------------------------------------------------- grids


def _neighbours(x: Tensor) -> Tensor:
    """W x: direct neighbours 1/6, diagonal ones 1/12, nothing beyond the border.

    The kernel is ([1 2 1] x [1 2 1] - 4 delta)/12, so two short passes do.
    """
    rows = 2 * x
    rows[..., 1:, :] += x[..., :-1, :]
    rows[..., :-1, :] += x[..., 1:, :]
    both = 2 * rows
    both[..., 1:] += rows[..., :-1]
    both[..., :-1] += rows[..., 1:]
    return both.sub_(x, alpha=4).div_(12)


def _weight(like: Tensor) -> Tensor:
    """D [1, 1, H, W]: the weight of the neighbours inside the image, which the mean divides by."""
    return _neighbours(torch.ones_like(like[:1, :1]))


@dataclass(frozen=True, eq=False)
class Fine:
    """The finest grid: free [N, 1, H, W] is 1 at the removed positions."""

    free: Tensor
    diagonal: Tensor

    def residual(self, x: Tensor) -> Tensor:
        """b - A x for an image x that carries the known pixels: W x - D x at the removed positions."""
        return (_neighbours(x) - self.diagonal * x) * self.free

    def apply(self, x: Tensor) -> Tensor:
        """A x for x that is 0 at the known positions."""
        return (self.diagonal * x - _neighbours(x)) * self.free

    def smooth(self, r: Tensor) -> Tensor:
        # D^-1 A has its high frequencies in [2/3, 4/3], so undamped Jacobi thirds them
        return r / self.diagonal * self.free


OFFSETS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]


@dataclass(frozen=True, eq=False)
class Coarse:
    """A coarser grid: nine-point stencils [N, 9, h, w] of the Galerkin operator P^T A P, in the order of OFFSETS."""

    stencil: Tensor
    diagonal: Tensor
    free: Tensor

    def apply(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        wide = F.pad(x, (1, 1, 1, 1))
        out = torch.zeros_like(x)
        for k, (i, j) in enumerate(OFFSETS):
            out.addcmul_(self.stencil[:, k : k + 1], wide[..., 1 + i : 1 + i + h, 1 + j : 1 + j + w])
        return out

    def smooth(self, r: Tensor) -> Tensor:
        return r / self.diagonal * 0.85


Grid = Fine | Coarse


def _prolonged(coarse: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear interpolation to a grid of about twice the points; coarse points are the even ones."""
    for dim, n in ((2, size[0]), (3, size[1])):
        last = coarse.narrow(dim, coarse.shape[dim] - 1, 1)
        after = torch.cat([coarse.narrow(dim, 1, coarse.shape[dim] - 1), last], dim)
        pairs = torch.stack([coarse, (coarse + after) / 2], dim + 1)
        coarse = pairs.flatten(dim, dim + 1).narrow(dim, 0, n)
    return coarse


def _restricted(fine: Tensor) -> Tensor:
    """The exact transpose of the interpolation, which keeps the preconditioner symmetric."""
    for dim in (2, 3):
        n = fine.shape[dim]
        odd = fine.narrow(dim, 1, n - 1).index_select(dim, torch.arange(0, n - 1, 2, device=fine.device))
        even = fine.index_select(dim, torch.arange(0, n, 2, device=fine.device)).clone()
        even.narrow(dim, 0, odd.shape[dim]).add_(odd, alpha=0.5)
        inner = even.shape[dim] - 1
        even.narrow(dim, 1, inner).add_(odd.narrow(dim, 0, inner), alpha=0.5)
        if n % 2 == 0:  # the last odd point has no coarse point after it: all its weight is the one before
            even.narrow(dim, inner, 1).add_(odd.narrow(dim, inner, 1), alpha=0.5)
        fine = even
    return fine


def _coarsened(grid: Grid, shape: Sequence[int]) -> Coarse:
    """The Galerkin operator, read off nine probes: points of one colour are three apart, so they do not meet."""
    N, (H, W) = len(grid.free), shape
    h, w = (H + 1) // 2, (W + 1) // 2
    device, dtype = grid.free.device, grid.free.dtype
    row, column = torch.arange(h, device=device), torch.arange(w, device=device)
    colour = (row % 3)[:, None] * 3 + column % 3
    probes = (colour == torch.arange(9, device=device).view(9, 1, 1)).to(dtype)[None].expand(N, -1, -1, -1)
    answers = _restricted(grid.apply(_prolonged(probes, shape) * grid.free))
    seen = torch.stack([((row + i) % 3)[:, None] * 3 + (column + j) % 3 for i, j in OFFSETS])
    stencil = answers.gather(1, seen[None].expand(N, -1, -1, -1))
    centre = stencil[:, 4:5]
    free = (centre > 0).to(dtype)
    # a coarse point that touches no removed pixel has no equation: give it x = 0
    diagonal = torch.where(centre > 0, centre, torch.ones_like(centre))
    stencil = torch.cat([stencil[:, :4], diagonal, stencil[:, 5:]], dim=1)
    return Coarse(stencil, diagonal, free)


@dataclass(frozen=True, eq=False)
class Cycle:
    """The V-cycle: one Jacobi sweep down and one up on every grid, a direct solve on the coarsest."""

    grids: tuple[Grid, ...]
    sizes: tuple[tuple[int, int], ...]
    inverse: Tensor

    def __call__(self, r: Tensor, level: int = 0) -> Tensor:
        if level == len(self.grids) - 1:
            return (self.inverse @ r.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, self.sizes[level])
        grid = self.grids[level]
        x = grid.smooth(r)
        left = r - grid.apply(x)
        x = x + _prolonged(self(_restricted(left), level + 1), self.sizes[level]) * grid.free
        return x + grid.smooth(r - grid.apply(x))


def _cycle(top: Fine) -> Cycle:
    grids: list[Grid] = [top]
    sizes = [(top.free.shape[2], top.free.shape[3])]
    while min(sizes[-1]) > COARSEST:
        grids.append(_coarsened(grids[-1], sizes[-1]))
        h, w = sizes[-1]
        sizes.append(((h + 1) // 2, (w + 1) // 2))
    h, w = sizes[-1]
    last, n = grids[-1], h * w
    unit = torch.eye(n, device=top.free.device, dtype=top.free.dtype).view(1, n, h, w).expand(len(top.free), -1, -1, -1)
    matrix = (last.apply(unit * last.free).flatten(2) + torch.diag_embed((1 - last.free).flatten(1))).double()
    # coarse points that reach the same few removed pixels only are twins: a trace on the diagonal keeps them solvable
    matrix = matrix + 1e-6 * torch.diag_embed(matrix.diagonal(dim1=1, dim2=2))
    return Cycle(tuple(grids), tuple(sizes), torch.linalg.inv(matrix).to(top.free.dtype))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products [N, C, 1, 1] in float64: every channel of every image is a system of its own."""
    return (a * b).sum((2, 3), keepdim=True, dtype=torch.float64)


def _conjugate_gradients(top: Fine, cycle: Cycle, r: Tensor, tolerance: float) -> Tensor:
    """Solve A x = r from x = 0. An image that is done no longer moves, so its result knows nothing of the others."""
    x = torch.zeros_like(r)
    z = cycle(r)
    p, rho = z, _dot(r, z)
    for step in range(STEPS):
        # z estimates the error that is left; one look every other step spares a GPU the waiting
        moving = (z.abs().amax((2, 3), keepdim=True) > tolerance)
        if step % 2 == 0 and not bool(moving.any()):
            break
        q = top.apply(p)
        curvature = _dot(p, q)
        alpha = torch.where(moving & (curvature > 0), rho / curvature.clamp_min(1e-300), torch.zeros_like(rho)).to(r.dtype)
        x = x + alpha * p
        r = r - alpha * q
        fresh = torch.where(alpha != 0, cycle(r), z)
        after = _dot(r, fresh)
        beta = (after / rho.clamp_min(1e-300)).to(r.dtype)
        p, rho, z = fresh + beta * p, after, fresh
    return x
