"""Randomised input sampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp.core import Batch, VxpError, explainer
from vxp.models import evaluating
from vxp.random import key, uniforms

from vxp_explainers._common import blended, check_at_least, probabilities, rows

PURPOSE = "rise@1"


def _passes(*, masks: int, cells: int, keep: float, fill: str) -> int:
    return masks


@explainer("rise", signed=False, resample="none", passes=_passes, family="perturbation",
           source="Petsiuk et al. 2018, eq. 6 and section 3.2")
@torch.no_grad()
def rise(
    model: nn.Module, batch: Batch, *, masks: int = 4000, cells: int = 7, keep: float = 0.5, fill: str = "mean",
) -> Tensor:
    """The mean of random masks weighted by the target's probability of the input under each, over the expected mask.

    A mask is a grid of cells x cells bits, each 1 with probability `keep` (the paper's p), upsampled bilinearly to
    (cells + 1) cells of the image and cropped at a random shift within one cell. Where a mask is 0 the input is
    replaced by the fill, the preprocessing mean as in the authors' code. Masks are drawn per item: mask n does not
    depend on how many there are. Returns [B, H, W] float32, at least 0. Raises VxpError for an unknown fill, masks or
    cells below 1 and a keep outside (0, 1].

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
    """float64 [H, W]: the sum over masks of mask times the target's probability under it, for item i."""
    total = torch.zeros(batch.positions, dtype=torch.float64, device=batch.inputs.device)
    grids, shifts = _grids(batch, i, masks, cells, keep), _shifts(batch, i, masks, cells)
    for part in rows(masks, batch.space):
        upsampled = _upsampled(grids[part], shifts[part], batch.space)
        probability = probabilities(model(blended(batch.inputs[i], fill, upsampled)))[:, batch.targets[i]]
        total += probability @ upsampled.flatten(1).double()
    return total.view(*batch.space)


def _cell(space: tuple[int, ...], cells: int) -> tuple[int, int]:
    return math.ceil(space[0] / cells), math.ceil(space[1] / cells)


def _grids(batch: Batch, i: int, masks: int, cells: int, keep: float) -> Tensor:
    """float32 [masks, cells, cells] of 0 and 1: bit (n, r, c) is position (n*cells + r)*cells + c of the draw."""
    draw = uniforms(key(batch.seed, batch.ids[i], PURPOSE, "grid"), 0, masks * cells * cells,
                    device=batch.inputs.device)
    return (draw < keep).float().view(masks, cells, cells)


def _shifts(batch: Batch, i: int, masks: int, cells: int) -> list[tuple[int, int]]:
    """Rows and columns by which each mask is shifted, in [0, cell): position n of the draw, words 0 and 1."""
    draw = uniforms(key(batch.seed, batch.ids[i], PURPOSE, "shift"), 0, masks, channels=2, device="cpu")
    tall, wide = _cell(batch.space, cells)
    return [(int(down), int(right)) for down, right in zip((draw[0] * tall).tolist(), (draw[1] * wide).tolist(),
                                                           strict=True)]


def _upsampled(grids: Tensor, shifts: list[tuple[int, int]], space: tuple[int, ...]) -> Tensor:
    """Masks [n, H, W] of grids [n, cells, cells]."""
    H, W = space
    cells = grids.shape[-1]
    tall, wide = _cell(space, cells)
    large = F.interpolate(grids[:, None], size=((cells + 1) * tall, (cells + 1) * wide), mode="bilinear",
                          align_corners=False)[:, 0]
    return torch.stack([mask[y:y + H, x:x + W] for mask, (y, x) in zip(large, shifts, strict=True)])
