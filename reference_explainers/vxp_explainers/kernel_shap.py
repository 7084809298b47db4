"""Shapley values of regions by weighted regression."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating
from vxp.random import key, uniforms

from vxp_explainers import _common
from vxp_explainers._common import READOUTS, check_at_least, check_one_of, read_coalitions

PURPOSE = "kernel-shap@1"


def _passes(*, samples: int, superpixels: int, fill: str, readout: str, regions: str) -> int:
    return samples


@explainer("kernel-shap", signed=True, resample="none", passes=_passes, family="perturbation",
           kinds=MAPS, source="Lundberg and Lee 2017, theorem 2; sampling in pairs by Covert and Lee 2021, section 4.1")
@torch.no_grad()
def kernel_shap(
    model: nn.Module, batch: Batch, *, samples: int = 1000, superpixels: int = 50, fill: str = "mean",
    readout: str = "probability", regions: str = "slic",
) -> Tensor:
    """Shapley values of superpixels, of clips supervoxels, for the target's probability, by least squares on sampled
    coalitions: what a region adds when it is kept and not replaced by the fill, averaged over all orders in which regions may
    come.

    Two of the samples are the whole image and the fill alone. The others come in pairs: a coalition of k of M regions
    with k drawn by the Shapley kernel, in proportion to 1/(k(M - k)), and the regions it leaves out. The values sum to
    what the whole says less what the fill says, exactly. Where samples do not determine them, the smallest are taken.
    regions is slic or grid, superpixels about how many there are; readout is probability or logit. Coalitions are drawn
    per item: the n-th does not depend on how many there are. Returns [B, *space] float32, a region's value at each of its
    positions. Raises VxpError for unknown words, samples below 2 and superpixels below 1.

    Captum's KernelShap is not used: it draws from the global generator, and meets the sum only nearly.
    """
    check_at_least("kernel-shap", 2, samples=samples)
    check_one_of("kernel-shap", "readout", readout, READOUTS)
    fills, labels = batch.fill_image(fill), _common.regions("kernel-shap", batch, regions, superpixels)
    maps = []
    with evaluating(model):
        for i, found in enumerate(labels):
            kept = _coalitions(batch, i, samples, int(found.max()) + 1)
            said = read_coalitions(model, batch.inputs[i], fills[i], batch.targets[i], found, kept, readout)
            maps.append(_values(kept.double(), said)[found].float())
    return torch.stack(maps)


def _coalitions(batch: Batch, i: int, samples: int, n: int) -> Tensor:
    """bool [samples, n]: all, none, then pairs. Of pair p the size is position p of one draw; the regions are those of the
    smallest values, ties by index, among positions p*n to p*n + n - 1 of another."""
    device = batch.inputs.device
    ends = torch.tensor([[True], [False]], device=device).expand(2, n)
    pairs = (samples - 1) // 2
    if n == 1 or not pairs:  # nothing lies between all and none: the ends are asked again
        return ends.repeat(samples // 2 + 1, 1)[:samples]
    size = torch.arange(1, n, dtype=torch.float64)
    chance = 1 / (size * (n - size))
    below = (chance / chance.sum()).cumsum(0)[:-1]
    drawn = uniforms(key(batch.seed, batch.ids[i], PURPOSE, "size"), 0, pairs)[0].double()
    sizes = 1 + torch.searchsorted(below, drawn, right=True).to(device)
    values = uniforms(key(batch.seed, batch.ids[i], PURPOSE, "regions"), 0, pairs * n, device=device).view(pairs, n)
    chosen = values.argsort(dim=1, stable=True).argsort(dim=1) < sizes[:, None]
    return torch.cat([ends, torch.stack([chosen, ~chosen], 1).flatten(0, 1)])[:samples]


def _values(kept: Tensor, said: Tensor) -> Tensor:
    """float64 [M]: the least squares of said - none - kept @ value with sum(value) = all - none; rows 0 and 1 are the ends.

    Drawn by the kernel, coalitions have equal weights. The sum is met by taking value = total/M + rest, sum(rest) = 0.
    """
    total, n = said[0] - said[1], kept.shape[1]
    even = total / n
    # rest ranges over the vectors of sum 0: centred columns leave their sum free, the smallest solution has sum 0
    z = kept[2:] - kept[2:].mean(1, keepdim=True)
    y = said[2:] - said[1] - kept[2:].sum(1) * even
    rest: Tensor = torch.linalg.pinv(z.T @ z, hermitian=True) @ (z.T @ y)
    return even + rest - rest.mean()
