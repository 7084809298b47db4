"""Class activation mapping by gradients."""

from __future__ import annotations

from captum.attr import LayerGradCam
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import cam_layer, check_spatial, using


@explainer("grad-cam", signed=False, resample="bilinear", needs=("gradients", "layer"), passes=2, family="cam",
           source="Selvaraju et al. 2017, eq. 1 and 2 (captum)")
def grad_cam(model: nn.Module, batch: Batch, *, layer: str | None = None) -> Tensor:
    """The positive part of the layer's channels, weighted by the mean gradient of the target's logit by each.

    layer is a dotted module name, by default the last with spatial output. Returns [B, h, w] float32 on the layer's
    grid, at least 0. Raises VxpError for a layer that is unknown, not used or without spatial output.
    """
    with evaluating(model):
        name, module = cam_layer(model, batch, layer)
        with using(name):
            maps: Tensor = LayerGradCam(model, module).attribute(
                batch.inputs.detach(), target=batch.targets, relu_attributions=True)
    check_spatial(name, maps, batch)
    return maps.detach()[:, 0].float()
