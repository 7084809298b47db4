"""Shapley values of superpixels, told of the superpixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import painted

from vxp_explainers._common import regions
from vxp_explainers.kernel_shap import How, fitted


def _passes(*, samples: int, superpixels: int, fill: str, readout: str) -> int:
    return samples


@explainer("slic-kernel-shap", signed=True, resample="none", passes=_passes, family="perturbation", kinds=("regions",),
           source="Lundberg and Lee 2017, theorem 2; sampling in pairs by Covert and Lee 2021, section 4.1")
@torch.no_grad()
def slic_kernel_shap(
    model: nn.Module, batch: Batch, *, samples: int = 1000, superpixels: int = 50, fill: str = "mean",
    readout: str = "probability",
) -> Tensor:
    """The superpixels of an image, each with its Shapley value for the target's probability, by least squares on sampled
    coalitions.

    What `kernel-shap` says, as regions in place of a map. Parameters are those of `kernel-shap`. Coalitions are drawn by this
    explainer's own key, so that values differ from those of `kernel-shap` as those of another seed do. Returns regions [B, 2,
    H, W] float32. Raises VxpError for unknown words, samples below 2 and superpixels below 1.
    """
    labels = regions("slic-kernel-shap", batch, "slic", superpixels)
    found = fitted("slic-kernel-shap", model, batch, labels, How(samples, fill, readout))
    return torch.cat([painted(of[None], values[None]) for of, values in zip(labels, found, strict=True)])
