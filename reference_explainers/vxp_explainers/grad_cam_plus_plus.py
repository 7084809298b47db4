"""Grad-CAM whose weights see every position of a channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import cam_layer, check_spatial, unused


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
        activation, gradient = _activation_and_gradient(model, name, module, batch)
    alpha = 1 / (2 + activation.sum((2, 3), keepdim=True) * gradient)
    weights = (alpha * gradient.relu()).sum((2, 3))
    return torch.einsum("bc,bchw->bhw", weights, activation).relu().float()


def _activation_and_gradient(model: nn.Module, name: str, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The layer's output [B, C, h, w] and the gradient of the targets' logits by it, detached, float64."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        check_spatial(name, output, batch)
        # cut off from what comes before, and handed on as a copy: later modules may work in place
        outputs.append(output.detach().requires_grad_())
        return outputs[-1].clone()

    handle = module.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = model(batch.inputs.detach())
            # summed: an item's logit depends on its own rows only, so each row gets its own gradient
            score = logits.gather(1, batch.targets[:, None]).sum()
    finally:
        handle.remove()
    if not outputs:
        raise unused(name)
    (gradient,) = torch.autograd.grad(score, outputs[-1])
    return outputs[-1].detach().double(), gradient.double()
