"""Class activation mapping by gradients, with weights of its own for every time step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import cam_layer, features_and_gradient


@explainer("grad-cam-frames", signed=False, resample="trilinear", needs=("gradients", "layer"), passes=2, family="cam",
           kinds=("heatmap3d",), source="Selvaraju et al. 2017, eq. 1 and 2, per time step (SlowFast, mmaction2)")
def grad_cam_frames(model: nn.Module, batch: Batch, *, layer: str | None = None) -> Tensor:
    """The positive part of the layer's channels, weighted at every time step by the mean gradient of the target's logit by the
    channel over the positions of that step.

    So SlowFast and mmaction2 compute Grad-CAM of clips. In `grad-cam` a channel has one weight, the mean over all time steps;
    the two are equal where the gradient is the same at every step, as under a mean over time. layer is a dotted module name,
    by default the last with spatial output. Returns [B, t, h, w] float32 on the layer's grid, at least 0. Raises VxpError for a
    layer that is unknown, not used or without spatial output.

    Departs from both libraries: no map is min-maxed, since that is for whoever draws it.
    """
    with evaluating(model):
        name, module = cam_layer(model, batch, layer)
        activation, gradient = features_and_gradient(model, name, module, batch)
    return torch.einsum("bct,bcthw->bthw", gradient.mean((3, 4)), activation).relu().float()
