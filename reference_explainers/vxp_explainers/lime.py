"""A linear model of the regions around one item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating

from vxp_explainers import _common
from vxp_explainers._coalitions import check_fit, coefficients, tossed
from vxp_explainers._common import READOUTS, check_one_of, read_coalitions


def _passes(
    *, samples: int, superpixels: int, kernel_width: float, ridge: float, fill: str, readout: str, regions: str,
) -> int:
    return samples


@explainer("lime", signed=True, resample="none", passes=_passes, family="perturbation",
           kinds=MAPS, source="Ribeiro et al. 2016, eq. 2 and section 3.4")
@torch.no_grad()
def lime(
    model: nn.Module, batch: Batch, *, samples: int = 1000, superpixels: int = 50, kernel_width: float = 0.25,
    ridge: float = 1.0, fill: str = "mean", readout: str = "probability", regions: str = "slic",
) -> Tensor:
    """The coefficients of a weighted ridge regression of the target's probability on which superpixels, of clips supervoxels,
    are kept.

    The first sample keeps all regions; in the others each is kept with probability 1/2, else replaced by the fill. As in
    the authors' code a sample z has weight sqrt(exp(-d^2/kernel_width^2)), d = 1 - cos(z, 1) its cosine distance from the
    whole; the intercept is not penalised. regions is slic or grid, superpixels about how many there are; readout is
    probability or logit. Samples are drawn per item: sample n does not depend on how many there are. Returns [B, *space]
    float32, a region's coefficient at each of its positions. Raises VxpError for unknown words, samples or superpixels
    below 1, a kernel_width that is not positive and a negative ridge.

    Departs from the authors' code: SLIC in place of quickshift; the fill, by default the preprocessing mean, in place of
    each superpixel's own mean; no selection of features, so that every region has its coefficient. Captum's Lime is not
    used, since it draws from the global generator.
    """
    how = How(samples, kernel_width, ridge, fill, readout)
    labels = _common.regions("lime", batch, regions, superpixels)
    found = fitted("lime", model, batch, labels, how)
    return torch.stack([scores[of].float() for scores, of in zip(found, labels, strict=True)])


@dataclass(frozen=True)
class How:
    """How a linear model of regions is fitted."""

    samples: int
    kernel_width: float
    ridge: float
    fill: str
    readout: str


def fitted(explainer: str, model: nn.Module, batch: Batch, labels: Sequence[Tensor], how: How) -> list[Tensor]:
    """The coefficient float64 [M] of every region of each item, whose labels int64 [*space] are 0 to M - 1."""
    check_fit(explainer, how.samples, how.kernel_width, how.ridge)
    check_one_of(explainer, "readout", how.readout, READOUTS)
    fills, found = batch.fill_image(how.fill), []
    with evaluating(model):
        for i, of in enumerate(labels):
            kept = tossed(batch, i, f"{explainer}@1", how.samples, int(of.max()) + 1)
            said = read_coalitions(model, batch.inputs[i], fills[i], batch.targets[i], of, kept, how.readout)
            found.append(coefficients(kept, said, how.kernel_width, how.ridge))
    return found
