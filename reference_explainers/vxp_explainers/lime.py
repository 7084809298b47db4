"""A linear model of the regions around one item."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating

from vxp_explainers import _common
from vxp_explainers._coalitions import coefficients, tossed
from vxp_explainers._common import READOUTS, check_at_least, check_one_of, read_coalitions

PURPOSE = "lime@1"


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
    check_at_least("lime", 1, samples=samples)
    check_at_least("lime", 1e-6, kernel_width=kernel_width)
    check_at_least("lime", 0, ridge=ridge)
    check_one_of("lime", "readout", readout, READOUTS)
    fills, labels = batch.fill_image(fill), _common.regions("lime", batch, regions, superpixels)
    maps = []
    with evaluating(model):
        for i, found in enumerate(labels):
            kept = tossed(batch, i, PURPOSE, samples, int(found.max()) + 1)
            said = read_coalitions(model, batch.inputs[i], fills[i], batch.targets[i], found, kept, readout)
            maps.append(coefficients(kept, said, kernel_width, ridge)[found].float())
    return torch.stack(maps)
