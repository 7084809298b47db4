"""Class activation mapping by gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating

from vxp_explainers._common import cam_layer, features_and_gradient


@explainer("grad-cam", signed=False, resample="bilinear", needs=("gradients", "layer"), passes=2, family="cam",
           kinds=MAPS, source="Selvaraju et al. 2017, eq. 1 and 2")
def grad_cam(model: nn.Module, batch: Batch, *, layer: str | None = None) -> Tensor:
    """The positive part of the layer's channels, weighted by the mean gradient of the target's logit by each.

    layer is a dotted module name, by default the last with spatial output; the mean is over all its positions, those of every
    time step of a clip. Returns [B, h, w] float32 on the layer's grid, [B, t, h, w] of clips, at least 0. Raises VxpError for
    a layer that is unknown, not used or without spatial output.
    """
    with evaluating(model):
        name, module = cam_layer(model, batch, layer)
        activation, gradient = features_and_gradient(model, name, module, batch)
    weights = gradient.mean(tuple(range(2, gradient.ndim)))
    return torch.einsum("bc,bc...->b...", weights, activation).relu().float()
