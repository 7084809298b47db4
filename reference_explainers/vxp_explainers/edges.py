"""An edge detector: looks like an explanation and knows nothing of the model (Adebayo et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp.core import Batch, explainer

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luminance (ITU-R BT.601)."""
SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
"""The horizontal derivative; the vertical one is its transpose."""


@explainer("edges", signed=False, resample="none", target_specific=False, reference=True, passes=0,
           family="reference", source="VXP 6.4.2; Adebayo et al. 2018")
def edges(model: nn.Module, batch: Batch) -> Tensor:
    """Sobel magnitude sqrt(gx^2 + gy^2) of the raw input's luminance, the border replicated.

    Strong by construction on photos with smooth areas: it is sparse there, and a few positions keep the object's contours.
    Returns [B, H, W] float32, at least 0. The model is not called. Inputs without three channels are averaged over
    channels instead.
    """
    raw = batch.raw().detach().double()  # autocast leaves float64 alone: the map is the same at every precision
    C = raw.shape[1]
    luma = raw.new_tensor(LUMA) if len(LUMA) == C else raw.new_full((C,), 1 / C)
    grey = torch.einsum("bchw,c->bhw", raw, luma)[:, None]
    across = raw.new_tensor(SOBEL)
    kernels = torch.stack([across, across.T])[:, None]
    return F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels).square().sum(1).sqrt().float()
