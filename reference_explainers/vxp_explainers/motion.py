"""Where the picture changes: looks like an explanation of a clip and knows nothing of the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp import outputs
from vxp.core import Batch, explainer

from vxp_explainers._common import luminance


@explainer("motion", signed=False, resample="none", target_specific=False, reference=True, passes=0,
           family="reference", kinds=("heatmap3d",), outputs=outputs.IDS, source="VXP 6.4.2")
def motion(model: nn.Module, batch: Batch) -> Tensor:
    """Absolute difference of the raw input's luminance from the frame before and from the one after, their mean.

    The first and the last frame have one neighbour, whose difference is taken; a clip of one frame is 0 everywhere. A clip
    run backwards has the same map, run backwards. Strong by construction where nothing moves but what counts. Returns
    [B, T, H, W] float32, at least 0. The model is not called. Inputs without three channels are averaged over channels instead.
    """
    change = luminance(batch).diff(dim=1).abs()
    if not change.shape[1]:
        return torch.zeros(len(batch), *batch.space, device=batch.inputs.device)
    before, after = torch.cat([change[:, :1], change], 1), torch.cat([change, change[:, -1:]], 1)
    return ((before + after) / 2).float()
