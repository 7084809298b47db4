"""A linear model of superpixels, told of the superpixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import painted

from vxp_explainers._common import regions
from vxp_explainers.lime import How, fitted


def _passes(*, samples: int, superpixels: int, kernel_width: float, ridge: float, fill: str) -> int:
    return samples


@explainer("slic-lime", signed=True, resample="none", passes=_passes, family="perturbation", kinds=("regions",),
           source="Ribeiro et al. 2016, eq. 2 and section 3.4")
@torch.no_grad()
def slic_lime(
    model: nn.Module, batch: Batch, *, samples: int = 1000, superpixels: int = 50, kernel_width: float = 0.25,
    ridge: float = 1.0, fill: str = "mean",
) -> Tensor:
    """The superpixels of an image, each with its coefficient in a weighted ridge regression of the target's probability on
    which superpixels are kept.

    What `lime` says, as regions in place of a map: who reads it knows where a superpixel ends, and metrics that remove the most
    relevant positions remove superpixels one after another. Parameters are those of `lime`. Samples are drawn by this
    explainer's own key, so that coefficients differ from those of `lime` as those of another seed do. Returns regions [B, 2, H,
    W] float32. Raises VxpError for samples or superpixels below 1, a kernel_width that is not positive and a negative ridge.
    """
    labels = regions("slic-lime", batch, "slic", superpixels)
    found = fitted("slic-lime", model, batch, labels, How(samples, kernel_width, ridge, fill, "probability"))
    return torch.cat([painted(of[None], scores[None]) for of, scores in zip(labels, found, strict=True)])
