"""Grad-CAM with a weight for every position."""

from __future__ import annotations

from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating

from vxp_explainers._common import cam_layer, features_and_gradient


@explainer("layer-cam", signed=False, resample="bilinear", needs=("gradients", "layer"), passes=2, family="cam",
           kinds=MAPS, source="Jiang et al. 2021, eq. 5 to 7")
def layer_cam(model: nn.Module, batch: Batch, *, layer: str | None = None) -> Tensor:
    """The positive part of the sum over channels of relu(g)*A, g the gradient of the target's logit by the layer's output A
    at the same position.

    layer is a dotted module name, by default the last with spatial output; earlier layers give finer maps. Returns
    [B, h, w] float32 on the layer's grid, [B, t, h, w] of clips, at least 0. Raises VxpError for a layer that is unknown, not
    used or without spatial output.
    """
    with evaluating(model):
        name, module = cam_layer(model, batch, layer)
        activation, gradient = features_and_gradient(model, name, module, batch)
    return (gradient.relu() * activation).sum(1).relu().float()
