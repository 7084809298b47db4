"""Noisy linear imputation (ROAD, Rong et al. 2022), solved by multigrid on the model's device.

Every removed pixel is the weighted mean of its neighbours, direct ones 1/6 and diagonal ones 1/12, renormalised at the
border; known pixels are fixed. That is a sparse symmetric positive definite system A x = b with A = D - W on the removed
pixels. Conjugate gradients with a V-cycle as preconditioner needs about ten steps whatever the size of the holes; all
images of the batch and all channels go through it together, each stopping on its own. On a CPU `compiled` runs the same method
image by image, in compiled loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vxp.imputation.multigrid import COARSEST, DAMPING, REFINEMENTS, STEPS

NLI_NOISE = 0.01
"""Standard deviation of the noise on imputed pixels, per channel in raw space."""
TOLERANCE = 2e-5
"""Estimated error in raw units (the V-cycle of the residual, largest value) at which an image is done."""


def nli(raw: Tensor, removed: Tensor, *, mean: Sequence[float], tolerance: float = TOLERANCE) -> Tensor:
    """Images [N, C, H, W] with the removed positions [N, H, W] imputed, without noise; known pixels as they are.

    An image of which nothing is known becomes the mean. Equal to the direct sparse solve to 1e-4.
    """
    if raw.device.type == "cpu" and raw.dtype == torch.float32:
        # image by image, as many at once as torch has threads
        one = partial(_compiled, mean=mean, tolerance=tolerance)
        threads = min(torch.get_num_threads(), len(raw))
        if threads < 2:
            return torch.stack([one(*image) for image in zip(raw, removed, strict=True)]) if len(raw) else raw.clone()
        with ThreadPoolExecutor(threads) as pool:
            return torch.stack(list(pool.map(one, raw, removed)))
    return _solved(*_started(raw, removed, mean), tolerance)


def _compiled(raw: Tensor, removed: Tensor, *, mean: Sequence[float], tolerance: float) -> Tensor:
    from vxp.imputation.compiled import imputed  # the compiler loads when something is imputed

    gone = removed.numpy()
    count = np.count_nonzero(gone)
    if count == 0:
        return raw
    if count == gone.size:
        return raw.new_tensor(mean).view(-1, 1, 1).expand_as(raw)
    return torch.from_numpy(imputed(raw.numpy(), gone, tolerance))


def _started(raw: Tensor, removed: Tensor, mean: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The first guess, and 1 at the positions [N, 1, H, W] to be solved: none in an image of which nothing is known."""
    known_mean = torch.tensor(mean, dtype=raw.dtype, device=raw.device).view(1, -1, 1, 1)
    nothing = removed.flatten(1).all(1).view(-1, 1, 1, 1)
    hidden = removed[:, None].to(raw.dtype)
    # masks multiply: a masked select over broadcast channels costs twenty times as much on a CPU
    start = raw * (1 - hidden) + hidden * _guess(raw, 1 - hidden, known_mean)
    return torch.where(nothing, known_mean, start) if bool(nothing.any()) else start, hidden * ~nothing


def _solved(x: Tensor, free: Tensor, tolerance: float) -> Tensor:
    """The solution from the first guess x."""
    top = Fine(free, _weight(free))
    cycle = _cycle(top)
    exact = Fine(free.double(), _weight(free.double()))
    for _ in range(REFINEMENTS):
        # the residual in float64: where little is known, float32 rounding of it is what limits the solution
        r = exact.apply(x.double()).neg_().to(x.dtype)
        correction = _conjugate_gradients(top, cycle, r, tolerance)
        x = x + correction  # 0 at the known positions, as r is
        if not bool((correction.abs() > 10 * tolerance).any()):
            break
    return x


def _guess(raw: Tensor, known: Tensor, mean: Tensor) -> Tensor:
    """A smooth first guess: averages of the known pixels over ever larger blocks, where finer ones have none."""
    total, count = raw * known, known
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

    @cached_property
    def jacobi(self) -> Tensor:
        # D^-1 A has its high frequencies in [2/3, 4/3], so undamped Jacobi thirds them
        return self.free / self.diagonal

    def apply(self, x: Tensor) -> Tensor:
        """A x at the removed positions; minus the residual of an image x that carries the known pixels."""
        return _neighbours(x).neg_().addcmul_(self.diagonal, x).mul_(self.free)

    def smooth(self, r: Tensor) -> Tensor:
        return r * self.jacobi


OFFSETS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]


@dataclass(frozen=True, eq=False)
class Coarse:
    """A coarser grid: nine-point stencils [N, 9, h, w] of the Galerkin operator P^T A P, in the order of OFFSETS."""

    stencil: Tensor
    jacobi: Tensor
    free: Tensor

    def apply(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        wide = F.pad(x, (1, 1, 1, 1))
        out = torch.zeros_like(x)
        for k, (i, j) in enumerate(OFFSETS):
            out.addcmul_(self.stencil[:, k : k + 1], wide[..., 1 + i : 1 + i + h, 1 + j : 1 + j + w])
        return out

    def smooth(self, r: Tensor) -> Tensor:
        return r * self.jacobi


Grid = Fine | Coarse


def _prolonged(coarse: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear interpolation to a grid of about twice the points; coarse points are the even ones."""
    N, C, h, w = coarse.shape
    wide = coarse.new_empty(N, C, h, size[1])
    wide[..., 0::2] = coarse
    between = wide[..., 1::2]
    inner = w - 1
    between[..., :inner] = (coarse[..., 1:] + coarse[..., :-1]).mul_(0.5)
    between[..., inner:] = coarse[..., inner:]  # beyond the last coarse point, if there is an odd one, it stands alone
    fine = coarse.new_empty(N, C, *size)
    fine[:, :, 0::2] = wide
    between = fine[:, :, 1::2]
    inner = h - 1
    torch.add(wide[:, :, 1:], wide[:, :, :-1], out=between[:, :, :inner]).mul_(0.5)
    between[:, :, inner:] = wide[:, :, inner:]
    return fine


def _restricted(fine: Tensor) -> Tensor:
    """The exact transpose of the interpolation, which keeps the preconditioner symmetric."""
    for dim in (2, 3):
        n = fine.shape[dim]
        at: list[slice] = [slice(None)] * 4
        at[dim] = slice(0, n, 2)
        even = fine[tuple(at)].clone()
        at[dim] = slice(1, n, 2)
        odd = fine[tuple(at)]
        inner = even.shape[dim] - 1
        even.narrow(dim, 0, odd.shape[dim]).add_(odd, alpha=0.5)
        even.narrow(dim, 1, inner).add_(odd.narrow(dim, 0, inner), alpha=0.5)
        if n % 2 == 0:
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
    # four coarse points around one removed pixel see the same pixel, and D^-1 A reaches 4 there: damping by the row's sum
    # keeps every sweep a contraction, without which the preconditioner is indefinite and the iteration breaks down
    row = stencil.abs().sum(1, keepdim=True)
    return Coarse(stencil, DAMPING / torch.maximum(diagonal, row / 2), free)


@dataclass(frozen=True, eq=False)
class Cycle:
    """The V-cycle: one Jacobi sweep down and one up on every grid, a direct solve on the coarsest."""

    grids: tuple[Grid, ...]
    sizes: tuple[tuple[int, int], ...]
    inverse: Tensor

    def __call__(self, r: Tensor, level: int = 0) -> Tensor:
        if level == len(self.grids) - 1:
            solved: Tensor = (self.inverse @ r.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, self.sizes[level])
            return solved
        grid = self.grids[level]
        x = grid.smooth(r)
        coarse = self(_restricted(r - grid.apply(x)), level + 1)
        x.addcmul_(_prolonged(coarse, self.sizes[level]), grid.free)
        return x.add_(grid.smooth(r - grid.apply(x)))


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
    """Inner products [N, C, 1, 1]: every channel of every image is a system of its own."""
    products: Tensor = torch.linalg.vecdot(a.flatten(2), b.flatten(2))
    return products.double()[..., None, None]


def _conjugate_gradients(top: Fine, cycle: Cycle, r: Tensor, tolerance: float) -> Tensor:
    """Solve A x = r from x = 0. An image that is done no longer moves, so its result knows nothing of the others."""
    x = torch.zeros_like(r)
    z = cycle(r)
    p, rho = z, _dot(r, z)
    for step in range(STEPS):
        # z estimates the error that is left; looking at it makes a GPU wait, so there it is looked at every other step
        moving = (z.abs().amax((2, 3), keepdim=True) > tolerance) & (rho > 0)
        if (r.device.type == "cpu" or step % 2 == 0) and not bool(moving.any()):
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
