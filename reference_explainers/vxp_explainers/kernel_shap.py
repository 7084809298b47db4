"""Shapley values of regions by weighted regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating

from vxp_explainers import _common
from vxp_explainers._coalitions import least_squares, paired
from vxp_explainers._common import READOUTS, check_at_least, check_one_of, read_coalitions


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
    labels = _common.regions("kernel-shap", batch, regions, superpixels)
    found = fitted("kernel-shap", model, batch, labels, How(samples, fill, readout))
    return torch.stack([values[of].float() for values, of in zip(found, labels, strict=True)])


@dataclass(frozen=True)
class How:
    """How the values of regions are fitted."""

    samples: int
    fill: str
    readout: str


def fitted(explainer: str, model: nn.Module, batch: Batch, labels: Sequence[Tensor], how: How) -> list[Tensor]:
    """The value float64 [M] of every region of each item, whose labels int64 [*space] are 0 to M - 1."""
    check_at_least(explainer, 2, samples=how.samples)
    check_one_of(explainer, "readout", how.readout, READOUTS)
    fills, found = batch.fill_image(how.fill), []
    with evaluating(model):
        for i, of in enumerate(labels):
            kept = paired(batch, i, f"{explainer}@1", how.samples, int(of.max()) + 1)
            said = read_coalitions(model, batch.inputs[i], fills[i], batch.targets[i], of, kept, how.readout)
            found.append(least_squares(kept, said))
    return found
