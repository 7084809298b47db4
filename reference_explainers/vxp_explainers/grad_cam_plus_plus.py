"""Grad-CAM whose weights see every position of a channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import cam_layer, features_and_gradient


@explainer("grad-cam-plus-plus", signed=False, resample="bilinear", needs=("gradients", "layer"), passes=2,
           family="cam", source="Chattopadhay et al. 2018, eq. 6, 7 and 19")
def grad_cam_plus_plus(model: nn.Module, batch: Batch, *, layer: str | None = None) -> Tensor:
    """The positive part of the layer's channels A, each weighted by the sum of relu(g)/(2 + sum(A*g)) over positions.

    g is the gradient of the target's logit by A. Returns [B, h, w] float32 on the layer's grid, at least 0. Raises
    VxpError for a layer that is unknown, not used or without spatial output.

    Eq. 19 for the score exp(logit) is alpha = g^2/(2 g^2 + sum(A) g^3), with g^3 at the weight's own position; where g
    is not 0 this is 1/(2 + sum(A) g), and where it is 0 the weight's factor relu(g) is 0, so that nothing is divided by
    zero. The paper's common factor exp(logit) is left out: it scales a whole map and overflows float32 at logits of 89.
    """
    with evaluating(model):
        name, module = cam_layer(model, batch, layer)
        activation, gradient = features_and_gradient(model, name, module, batch)
    alpha = 1 / (2 + activation.sum((2, 3), keepdim=True) * gradient)
    weights = (alpha * gradient.relu()).sum((2, 3))
    return torch.einsum("bc,bchw->bhw", weights, activation).relu().float()
