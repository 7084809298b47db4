"""An edge detector: looks like an explanation and knows nothing of the model (Adebayo et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp import outputs
from vxp.core import Batch, explainer
from vxp.kinds import MAPS

from vxp_explainers._common import luminance

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
"""The horizontal derivative; the vertical one is its transpose."""


@explainer("edges", signed=False, resample="none", target_specific=False, reference=True, passes=0,
           family="reference", kinds=MAPS, outputs=outputs.IDS, source="VXP 6.4.2; Adebayo et al. 2018")
def edges(model: nn.Module, batch: Batch) -> Tensor:
    """Sobel magnitude sqrt(gx^2 + gy^2) of the raw input's luminance, the border replicated; of a clip frame by frame.

    Strong by construction on photos with smooth areas: it is sparse there, and a few positions keep the object's contours.
    Returns [B, *space] float32, at least 0. The model is not called. Inputs without three channels are averaged over
    channels instead.
    """
    frames = luminance(batch).reshape(-1, 1, *batch.space[-2:])
    across = frames.new_tensor(SOBEL)
    kernels = torch.stack([across, across.T])[:, None]
    sizes = F.conv2d(F.pad(frames, (1, 1, 1, 1), mode="replicate"), kernels).square().sum(1).sqrt()
    return sizes.view(len(batch), *batch.space).float()
