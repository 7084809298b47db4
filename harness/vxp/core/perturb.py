"""Pure tensor functions behind the edits: what replaces a position, and the arithmetic of curves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from vxp import random
from vxp.core import Batch, Cell, Normalization, Part, Piece, Scattered, SomeCells, Square, Stream, VxpError
from vxp.machine import sent
from vxp.media import IMAGE

__all__ = [
    "FILLS", "IMAGES", "blended", "cuts", "drawn_parts", "input_noise", "levels", "many_noises", "minmax", "part", "parts",
    "redrawn", "translated", "trapezoid",
]

FILLS, IMAGES = tuple(IMAGE.fills), IMAGE.painted
"""The fills of images, and those of them that depend on the item only, which is all that a soft mask can ask for."""


# ---------------------------------------------------------------------------------------- what an edit does to one item


def part(which: Part, batch: Batch, i: int) -> Tensor:
    """bool [P]: the positions of this part of item i, the same in the edit and in the metric that asked for it.

    A square has side 1 + floor(u0*side), rows from floor(u1*(H - size + 1)) and columns from floor(u2*(W - size + 1)),
    u0 to u2 the first words of position 0; drawn cells are a drawn subset (as of positions) of the grid's cells.
    VxpError where the part does not fit.
    """
    device = batch.inputs.device
    if isinstance(which, Piece):
        of = batch.parts_of(which.unit)[i]
        if which.number > int(of.max()):
            raise VxpError(f"{which.unit} {which.number} was asked for, and item {batch.ids[i]} has {int(of.max()) + 1}")
        return (of == which.number).repeat_interleave(batch.positions // len(of))
    H, W = batch.space
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


def parts(which: Sequence[Part], batch: Batch, i: int) -> Tensor:
    """bool [N, P]: each `part` of item i. On a GPU what is drawn is drawn at once."""
    if batch.inputs.device.type == "cpu":
        return torch.stack([part(one, batch, i) for one in which])
    return drawn_parts(which, batch, i)


def drawn_parts(which: Sequence[Part], batch: Batch, i: int) -> Tensor:
    """The same in few steps."""
    device, found = batch.inputs.device, torch.empty(len(which), batch.positions, dtype=torch.bool, device=batch.inputs.device)
    drawn: dict[int, list[tuple[int, Scattered | SomeCells]]] = {}  # by the number of places that are drawn from
    for n, one in enumerate(which):
        if isinstance(one, Scattered | SomeCells):
            drawn.setdefault(one.grid if isinstance(one, SomeCells) else 0, []).append((n, one))
        else:
            found[n] = part(one, batch, i)
    for grid, some in drawn.items():
        keys = [_key(batch, i, one.stream) for _, one in some]
        chosen = random.many_subsets(keys, [one.draw for _, one in some], [one.n for _, one in some],
                                     grid * grid or batch.positions, device=device)
        places = sent(torch.tensor([n for n, _ in some]), device)
        found[places] = chosen[:, cells(grid, *batch.space, device=device)] if grid else chosen
    return found


@lru_cache(maxsize=16)
def cells(grid: int, H: int, W: int, *, device: torch.device | str = "cpu") -> Tensor:
    """int64 [P]: the cell of every position, row-major, (y, x) in cell (floor(y*grid/H), floor(x*grid/W))."""
    if not 1 <= grid <= min(H, W):
        raise VxpError(f"a grid of {grid} cells a side was asked for, expected 1 to {min(H, W)}, the shorter side")
    rows, columns = (torch.arange(n, device=device) * grid // n for n in (H, W))
    return (rows[:, None] * grid + columns).flatten()


def many_noises(batch: Batch, items: Sequence[int], which: Sequence[tuple[Stream, int]], radius: float) -> Tensor:
    """`input_noise` [N, C, H, W] of these items, each with its stream and draw, on a GPU in few steps."""
    keys = [_key(batch, i, stream) for i, (stream, _) in zip(items, which, strict=True)]
    u = random.many_uniforms(keys, [draw for _, draw in which], batch.positions, batch.inputs.shape[1],
                             device=batch.inputs.device)
    return u.mul_(2).sub_(1).mul_(radius).view(-1, *batch.inputs.shape[1:])


def input_noise(batch: Batch, i: int, stream: Stream, draw: int, radius: float) -> Tensor:
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


def own_levels(batch: Batch) -> Tensor:
    """The items of a batch in 8-bit levels, uint8 [B, C, *space]."""
    # in float64, so that rounding to 8 bits gives everybody the same levels
    return levels(batch.to_raw(batch.inputs.detach().double()))


def redrawn(image: Tensor, drawn: Tensor, normalization: Normalization) -> Tensor:
    """The input [C, H, W] of levels uint8 [C, H, W]; where they are those of the image, its own value, bit for bit."""
    # in float64, so that rounding to 8 bits gives everybody the same levels
    own = levels(normalization.to_raw(image.double()))
    return torch.where(drawn == own, image, normalization.to_inputs(drawn.to(image.dtype) / 255))


def _key(batch: Batch, i: int, stream: Stream) -> random.Key:
    return random.key(batch.seed, batch.ids[i], stream.purpose, stream.stream)


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
