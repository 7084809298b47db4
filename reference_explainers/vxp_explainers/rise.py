"""Randomised input sampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp.core import Batch, VxpError, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating
from vxp.random import key, uniforms

from vxp_explainers._common import blended, check_at_least, probabilities, rows

PURPOSE = "rise@1"


def _passes(*, masks: int, cells: int, keep: float, fill: str) -> int:
    return masks


@explainer("rise", signed=False, resample="none", passes=_passes, family="perturbation",
           kinds=MAPS, source="Petsiuk et al. 2018, eq. 6 and section 3.2")
@torch.no_grad()
def rise(
    model: nn.Module, batch: Batch, *, masks: int = 4000, cells: int = 7, keep: float = 0.5, fill: str = "mean",
) -> Tensor:
    """The mean of random masks weighted by the target's probability of the input under each, over the expected mask.

    A mask is a grid of cells x cells bits, each 1 with probability `keep` (the paper's p), upsampled bilinearly to
    (cells + 1) cells of the image and cropped at a random shift within one cell. Of clips it has as many cells along time and
    is upsampled trilinearly: a cell is 1/cells of every axis, rounded up. Where a mask is 0 the input is replaced by the
    fill, the preprocessing mean as in the authors' code. Masks are drawn per item: mask n does not depend on how many there
    are. Returns [B, *space] float32, at least 0. Raises VxpError for an unknown fill, masks or cells below 1 and a keep
    outside (0, 1].

    Departs from the authors' code in the outer half cell of the upsampling: replicated here, mirrored there.
    """
    check_at_least("rise", 1, masks=masks, cells=cells)
    if not 0 < keep <= 1:
        raise VxpError(f"explainer 'rise': keep is {keep!r}, expected a probability in (0, 1]")
    fills = batch.fill_image(fill)
    with evaluating(model):
        maps = [_weighted(model, batch, i, fills[i], masks, cells, keep) for i in range(len(batch))]
    return torch.stack([(total / (keep * masks)).float() for total in maps])


def _weighted(model: nn.Module, batch: Batch, i: int, fill: Tensor, masks: int, cells: int, keep: float) -> Tensor:
    """float64 [*space]: the sum over masks of mask times the target's probability under it, for item i."""
    total = torch.zeros(batch.positions, dtype=torch.float64, device=batch.inputs.device)
    grids, shifts = _grids(batch, i, masks, cells, keep), _shifts(batch, i, masks, cells)
    for part in rows(masks, batch.space):
        upsampled = _upsampled(grids[part], shifts[part], batch.space)
        probability = probabilities(model, model(blended(batch.inputs[i], fill, upsampled)))[:, batch.targets[i]]
        total += probability @ upsampled.flatten(1).double()
    return total.view(*batch.space)


def _cell(space: tuple[int, ...], cells: int) -> list[int]:
    return [math.ceil(size / cells) for size in space]


def _grids(batch: Batch, i: int, masks: int, cells: int, keep: float) -> Tensor:
    """float32 [masks, cells, cells], of clips [masks, cells, cells, cells], of 0 and 1: in row-major order from position 0 of
    the draw."""
    grid = [masks, *[cells] * len(batch.space)]
    draw = uniforms(key(batch.seed, batch.ids[i], PURPOSE, "grid"), 0, math.prod(grid), device=batch.inputs.device)
    return (draw < keep).float().view(grid)


def _shifts(batch: Batch, i: int, masks: int, cells: int) -> Tensor:
    """int64 [masks, axes]: by how much each mask is shifted along each axis, in [0, cell): position n of the draw, a word for
    each axis."""
    draw = uniforms(key(batch.seed, batch.ids[i], PURPOSE, "shift"), 0, masks, channels=len(batch.space), device="cpu")
    return (draw.T * torch.tensor(_cell(batch.space, cells))).long()


def _upsampled(grids: Tensor, shifts: Tensor, space: tuple[int, ...]) -> Tensor:
    """Masks [n, *space] of grids [n, cells, cells], of clips [n, cells, cells, cells]."""
    cells = grids.shape[-1]
    large = F.interpolate(grids[:, None], size=[(cells + 1) * cell for cell in _cell(space, cells)],
                          mode="bilinear" if len(space) == 2 else "trilinear", align_corners=False)[:, 0]
    return torch.stack([mask[tuple(slice(s, s + size) for s, size in zip(shift, space, strict=True))]
                        for mask, shift in zip(large, shifts.tolist(), strict=True)])
