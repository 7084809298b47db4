"""Feature explanation: where each channel is unusually strong."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating

from vxp_explainers._common import cam_layer, check_at_least, features


@explainer("fem", signed=False, resample="bilinear", target_specific=False, needs=("activations", "layer"), passes=1,
           family="cam", kinds=MAPS, source="Fuad et al. 2020, section III")
def fem(model: nn.Module, batch: Batch, *, layer: str | None = None, k: float = 2.0) -> Tensor:
    """The sum over the layer's channels of their mean, at the positions where the channel is k standard deviations above it;
    it does not know the class.

    layer is a dotted module name, by default the last with spatial output. Returns [B, h, w] float32 on the layer's grid,
    [B, t, h, w] of clips, at least 0. Raises VxpError for a layer that is unknown, not used or without spatial output, and for
    a negative k.
    """
    check_at_least("fem", 0, k=k)
    with evaluating(model):
        name, module = cam_layer(model, batch, layer)
        activation = features(model, name, module, batch)
    return feature_map(activation, k).relu().float()


def feature_map(activation: Tensor, k: float) -> Tensor:
    """The map [B, ...] of features [B, C, ...] with any number of spatial dimensions (h, w; or t, h, w of a video).

    A position counts where a >= mean + k*sd, both over the channel's own positions (sd with divisor N). A channel with one
    value everywhere counts nowhere: it has no unusual position. Channels after a ReLU have means of 0 or more.
    """
    flat = activation.flatten(2)
    mean, sd = flat.mean(2, keepdim=True), flat.std(2, keepdim=True, correction=0)
    strong = (flat >= mean + k * sd) & (sd > torch.finfo(flat.dtype).eps * flat.abs().amax(2, keepdim=True))
    return (mean * strong).sum(1).view(activation.shape[:1] + activation.shape[2:])
