"""Pure tensor functions behind the edits: what replaces a position, and the arithmetic of curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from vxp import random
from vxp.catalogue import nearest
from vxp.core import Batch, Cell, Normalization, Part, Scattered, SomeCells, Square, VxpError
from vxp.imputation import NLI_NOISE, nli

__all__ = [
    "FILLS", "NLI_NOISE", "blended", "cuts", "fill_image", "input_noise", "levels", "minmax", "nli", "part", "redrawn",
    "translated", "trapezoid",
]

FILLS = ("black", "mean", "blur", "noise", "nli", "image-mean", "rise-blur")
"""Names of the fills. `nli` depends on what is removed, so only rows that remove positions can have it."""

RISE_WIDTH, RISE_SIGMA = 11, 5.0


def fill_image(fill: str, batch: Batch) -> Tensor:
    """What the fill puts at every position, [B, C, H, W] in the model's input space.

    Fills live in raw pixels (clause [fills]): `black` 0; `mean` the preprocessing mean; `blur` a normalised truncated
    Gaussian of radius and sigma round(5*min(H, W)/224), halves up, reflect padding; `noise` uniform per value, keyed by
    item; `image-mean` each channel's mean over the item's own raw pixels;
    `rise-blur` RISE's own kernel in RISE's own place, the input space with zero padding. VxpError for an unknown name
    and for `nli`.
    """
    if fill not in IMAGES:
        only_removed = "; `nli` imputes from what is left, so it only fills removed positions"
        hint = only_removed if fill == "nli" else nearest(fill, FILLS)
        raise VxpError(f"no fill image is called {fill!r}{hint}; expected one of {', '.join(IMAGES)}")
    return IMAGES[fill](batch)


def _constant(values: Sequence[float], batch: Batch) -> Tensor:
    raw = torch.tensor(values, dtype=batch.inputs.dtype, device=batch.inputs.device).view(1, -1, 1, 1)
    return batch.normalization.to_inputs(raw.expand_as(batch.inputs[:1])).expand_as(batch.inputs)


def _mean(batch: Batch) -> Tensor:
    return _constant(batch.normalization.mean, batch)


def _black(batch: Batch) -> Tensor:
    return _constant([0.0] * batch.inputs.shape[1], batch)


def _image_mean(batch: Batch) -> Tensor:
    # summed in float64, so that the mean does not depend on the order of summation
    return batch.inputs.double().mean((2, 3), keepdim=True).to(batch.inputs.dtype).expand_as(batch.inputs)


def _blur(batch: Batch) -> Tensor:
    r = math.floor(5 * min(batch.space) / 224 + 0.5)
    if r == 0:
        return batch.inputs
    weights = [math.exp(-(k**2) / (2 * r**2)) for k in range(-r, r + 1)]
    smooth = F.pad(batch.raw(), (r, r, r, r), mode="reflect")
    for dim in (2, 3):
        # shifted sums: a convolution of one channel costs a CPU thirty times as much, and a GPU may round it to TF32
        n = smooth.shape[dim] - 2 * r
        total = torch.zeros_like(smooth.narrow(dim, 0, n))
        for k, weight in enumerate(weights):
            total.add_(smooth.narrow(dim, k, n), alpha=weight / sum(weights))
        smooth = total
    return batch.normalization.to_inputs(smooth)


def _noise(batch: Batch) -> Tensor:
    raw = torch.stack([
        random.uniforms(random.key(batch.seed, item, "fill-noise@1", "noise"), 0, batch.positions, batch.inputs.shape[1],
                        device=batch.inputs.device)
        for item in batch.ids
    ])
    return batch.normalization.to_inputs(raw.view_as(batch.inputs))


def _rise_blur(batch: Batch) -> Tensor:
    """A delta of 11x11 diffused by sigma 5 (Petsiuk et al. 2018, published script), applied in the input space."""
    delta = np.zeros((RISE_WIDTH, RISE_WIDTH))
    delta[RISE_WIDTH // 2, RISE_WIDTH // 2] = 1
    kernel = torch.from_numpy(gaussian_filter(delta, RISE_SIGMA)).to(batch.inputs)
    C = batch.inputs.shape[1]
    return F.conv2d(batch.inputs, kernel.expand(C, 1, -1, -1), padding=RISE_WIDTH // 2, groups=C)


IMAGES: dict[str, Callable[[Batch], Tensor]] = {
    "black": _black, "mean": _mean, "blur": _blur, "noise": _noise, "image-mean": _image_mean, "rise-blur": _rise_blur,
}


# ---------------------------------------------------------------------------------------- what an edit does to one item


def part(which: Part, batch: Batch, i: int) -> Tensor:
    """bool [P]: the positions of this part of item i, the same in the edit and in the metric that asked for it.

    A square has side 1 + floor(u0*side), rows from floor(u1*(H - size + 1)) and columns from floor(u2*(W - size + 1)),
    u0 to u2 the first words of position 0; drawn cells are a drawn subset (as of positions) of the grid's cells.
    VxpError where the part does not fit.
    """
    H, W = batch.space
    device = batch.inputs.device
    match which:
        case Scattered(stream, draw, n):
            return random.subset(_key(batch, i, stream), draw, batch.positions, n, device=device)
        case Square(stream, draw, side):
            if not 1 <= side <= min(H, W):
                raise VxpError(f"a square of side {side} was asked for, expected 1 to {min(H, W)}, the shorter side")
            u = random.uniforms(_key(batch, i, stream), draw, 1, 3)[:, 0].double().tolist()
            size = 1 + int(u[0] * side)
            top, left = int(u[1] * (H - size + 1)), int(u[2] * (W - size + 1))
            inside = torch.zeros(H, W, dtype=torch.bool, device=device)
            inside[top : top + size, left : left + size] = True
            return inside.flatten()
        case Cell(grid, index):
            return cells(grid, H, W, device=device) == index
        case SomeCells(grid, stream, draw, n):
            chosen = random.subset(_key(batch, i, stream), draw, grid * grid, n, device=device)
            return chosen[cells(grid, H, W, device=device)]


@lru_cache(maxsize=16)
def cells(grid: int, H: int, W: int, *, device: torch.device | str = "cpu") -> Tensor:
    """int64 [P]: the cell of every position, row-major, (y, x) in cell (floor(y*grid/H), floor(x*grid/W))."""
    if not 1 <= grid <= min(H, W):
        raise VxpError(f"a grid of {grid} cells a side was asked for, expected 1 to {min(H, W)}, the shorter side")
    rows, columns = (torch.arange(n, device=device) * grid // n for n in (H, W))
    return (rows[:, None] * grid + columns).flatten()


def input_noise(batch: Batch, i: int, stream: str, draw: int, radius: float) -> Tensor:
    """Uniform noise [C, H, W] in [-radius, radius) of one draw for item i, in the model's input units."""
    x = batch.inputs[i]
    u = random.uniforms(_key(batch, i, stream), draw, batch.positions, len(x), device=x.device)
    return u.view_as(x).mul_(2).sub_(1).mul_(radius)


def blended(image: Tensor, fill: Tensor, mask: Tensor, *, out: Tensor) -> Tensor:
    """fill + mask*(image - fill) [C, H, W], written into out; mask [H, W] in [0, 1].

    Every operation is rounded to the dtype (no fused multiply-add), so that where image and fill are equal, and where the
    mask is 0, the value is the fill's to the bit. Where the mask is 1 it is the image's.
    """
    torch.sub(image, fill, out=out).mul_(mask).add_(fill)
    # lerp is exact at the weights 0 and 1, and on a CPU faster than a masked select over broadcast channels
    return out.lerp_(image, (mask == 1).to(image.dtype))


def translated(image: Tensor, fill: Tensor, down: int, across: int) -> Tensor:
    """The image [C, H, W] moved by whole pixels; what it leaves shows the fill [C, H, W]."""
    H, W = image.shape[1:]
    moved = fill.clone()
    y, x = max(down, 0), max(across, 0)
    h, w = max(H - abs(down), 0), max(W - abs(across), 0)
    moved[:, y : y + h, x : x + w] = image[:, y - down : y - down + h, x - across : x - across + w]
    return moved


def levels(raw: Tensor) -> Tensor:
    """uint8 of raw pixels in [0, 1]: floor(255*v + 1/2) after clipping."""
    return (raw.clamp(0, 1) * 255 + 0.5).floor().to(torch.uint8)


def redrawn(image: Tensor, drawn: Tensor, normalization: Normalization) -> Tensor:
    """The input [C, H, W] of levels uint8 [C, H, W]; where they are those of the image, its own value, bit for bit."""
    # in float64, so that rounding to 8 bits gives everybody the same levels
    own = levels(normalization.to_raw(image.double()))
    return torch.where(drawn == own, image, normalization.to_inputs(drawn.to(image.dtype) / 255))


def _key(batch: Batch, i: int, stream: str) -> random.Key:
    return random.key(batch.seed, batch.ids[i], *stream.split("/"))


def minmax(maps: Tensor) -> Tensor:
    """Each map [B, ...] on [0, 1] by its own minimum and maximum (clause [minmax]); zeros for a constant map.

    NaN throughout where the two lie too far apart for the maps' type.
    """
    shape = (-1, *[1] * (maps.ndim - 1))
    flat = maps.flatten(1)
    low, high = flat.amin(1).view(shape), flat.amax(1).view(shape)
    width = high - low
    # divided by infinity, most of such a map would be 0 and pass for numbers
    width = width.masked_fill(torch.isinf(width), float("nan"))
    return (maps - low) / torch.where(width == 0, torch.ones_like(width), width)


def cuts(steps: int, positions: int) -> list[int]:
    """k_s = floor(s*P/S) for s = 0..S; VxpError unless 1 <= S <= P."""
    if not 1 <= steps <= positions:
        raise VxpError(f"steps is {steps}, expected 1 to {positions}, the number of positions")
    return [s * positions // steps for s in range(steps + 1)]


def trapezoid(curve: Tensor, counts: Sequence[int]) -> Tensor:
    """Area [B] float64 under curve [B, S+1] over the fractions k_s/P by the trapezoid rule; counts are k_0 = 0 .. k_S = P.

    Summed over whole counts and divided once: a curve within [0, 1] has an area within [0, 1] to the last digit.
    """
    at = torch.tensor(counts, dtype=torch.float64, device=curve.device)
    y = curve.double()
    return ((y[:, 1:] + y[:, :-1]) / 2 * at.diff()).sum(1) / (at[-1] - at[0])
