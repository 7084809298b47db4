"""The photographer's bias: what matters is in the middle."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer

from vxp_explainers._common import check_at_least


@explainer("centre-gaussian", signed=False, resample="none", target_specific=False, reference=True, passes=0,
           family="reference", source="VXP 6.4.2")
def centre_gaussian(model: nn.Module, batch: Batch, *, sigma: float = 0.25) -> Tensor:
    """A Gaussian around the centre of the image, its peak 1, its sigma along each side a fraction of that side.

    Strong by construction where objects are photographed in the middle: pointing game, gaze, one blob to keep or remove.
    Returns [B, H, W] float32 in (0, 1], the same map for every item. The model is not called. Raises VxpError for a
    sigma below 0.01.
    """
    check_at_least("centre-gaussian", 0.01, sigma=sigma)
    H, W = batch.space
    device = batch.inputs.device
    map = torch.outer(_bell(H, sigma * H, device), _bell(W, sigma * W, device))
    return map.expand(len(batch), H, W).clone()


def _bell(size: int, sigma: float, device: torch.device) -> Tensor:
    offset = torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2
    return torch.exp(-0.5 * (offset / sigma) ** 2)
