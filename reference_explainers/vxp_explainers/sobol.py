"""Which cells make the prediction vary."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.core.perturb import cells
from vxp.models import evaluating
from vxp.random import key, uniforms

from vxp_explainers._common import READOUTS, blended, check_at_least, check_one_of, read, rows

PURPOSE = "sobol@1"
BITS = 24
"""Binary digits of a design's numbers: as many as a float32 holds."""


def _passes(*, grid: int, designs: int, fill: str, readout: str) -> int:
    return designs * (grid * grid + 2)


@explainer("sobol", signed=False, resample="bilinear", passes=_passes, family="perturbation",
           source="Fel et al. 2021, eq. 4 to 6; estimator of Jansen 1999")
@torch.no_grad()
def sobol(
    model: nn.Module, batch: Batch, *, grid: int = 11, designs: int = 32, fill: str = "mean",
    readout: str = "probability",
) -> Tensor:
    """The total Sobol index of each cell of a regular grid: the share of the variance of the target's probability, under
    random masks, that is lost when all other cells are fixed.

    A mask holds a number in [0, 1) per cell: how much of the input is kept there, the rest being the fill. Masks come in
    two designs A and B of `designs` rows each, the halves of the points of a Sobol sequence of 2*grid*grid dimensions;
    for cell i, A with column i from B is asked too. The index is sum((f(A) - f(A_i))^2)/(2*designs) over the variance of
    f(A) and f(B) together; 0 where nothing varies. readout is probability or logit. Returns [B, grid, grid] float32, at
    least 0. Raises VxpError for unknown words, a grid that does not fit, and designs below 1.

    Departs from the authors' code, which takes the sequence as it is, so that its first points are the same in all
    dimensions: here it is scrambled (Matousek 1998: a random lower triangular matrix of bits and a digital shift), keyed
    by item. The variance there is that of f(A) alone, which only scales the map. A cell of the mask is one level, without
    interpolation between cells.
    """
    check_at_least("sobol", 1, designs=designs)
    check_one_of("sobol", "readout", readout, READOUTS)
    labels = cells(grid, *batch.space, device=batch.inputs.device).view(batch.space)
    fills, maps = batch.fill_image(fill), []
    with evaluating(model):
        for i in range(len(batch)):
            masks = _masks(_points(batch, i, designs, 2 * grid * grid).to(batch.inputs.device))
            said = [read(model, blended(batch.inputs[i], fills[i], masks[part][:, labels]), batch.targets[i], readout)
                    for part in rows(len(masks), batch.space)]
            maps.append(_total(torch.cat(said), designs).view(grid, grid).float())
    return torch.stack(maps)


def _points(batch: Batch, i: int, n: int, dimensions: int) -> Tensor:
    """float32 [n, dimensions] in [0, 1): the first points of the Sobol sequence, scrambled for item i.

    The digits of a point below the first ceil(log2(n)) are 0 before they are scrambled, so only that many columns of a
    dimension's matrix are drawn: bit (row r, column c) of dimension d is position (d*BITS + r)*columns + c.
    """
    from scipy.stats import qmc  # not above: its import takes a second

    columns = max(1, math.ceil(math.log2(n)))
    plain = qmc.Sobol(dimensions, scramble=False, bits=BITS).random_base2(columns)[:n]
    digits = torch.from_numpy((plain[:, :, None] * 2.0 ** np.arange(1, columns + 1) % 2).astype(np.int64))
    name = batch.seed, batch.ids[i], PURPOSE
    matrix = (uniforms(key(*name, "matrix"), 0, dimensions * BITS * columns)[0] < 0.5).long()
    matrix = matrix.view(dimensions, BITS, columns).tril(-1) + torch.eye(BITS, columns, dtype=torch.long)
    shift = (uniforms(key(*name, "shift"), 0, dimensions * BITS)[0] < 0.5).long().view(dimensions, BITS)
    scrambled = (torch.einsum("drc,ndc->ndr", matrix, digits) + shift) % 2
    return (scrambled.double() @ 2.0 ** -torch.arange(1, BITS + 1, dtype=torch.float64)).float()


def _masks(points: Tensor) -> Tensor:
    """float32 [n*(d + 2), d] of points [n, 2*d]: A, B, then for every dimension A with that column of B."""
    a, b = points.chunk(2, dim=1)
    mixed = a.repeat(a.shape[1], 1, 1)
    which = torch.arange(a.shape[1], device=a.device)
    mixed[which, :, which] = b.T
    return torch.cat([a, b, mixed.flatten(0, 1)])


def _total(said: Tensor, n: int) -> Tensor:
    """float64 [d]: Jansen's estimate of the total indices from f(A), f(B) and f(A_i), n each."""
    a, mixed = said[:n], said[2 * n:].view(-1, n)
    variance = said[:2 * n].var(correction=1)
    if variance == 0:
        return torch.zeros(len(mixed), dtype=said.dtype, device=said.device)
    return ((a - mixed) ** 2).sum(1) / (2 * n) / variance
