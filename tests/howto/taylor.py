"""Gradient times what blurring takes away: an estimate of each position's effect."""

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur
from vxp import Batch, VxpError, explainer, models


@explainer(
    "taylor-blur",
    signed=True,
    resample="none",
    needs=("gradients",),
    passes=2,
    family="gradient",
    source="First-order Taylor expansion at the input, with its blurred copy as baseline",
)
def taylor_blur(model: nn.Module, batch: Batch, *, radius: int = 11) -> Tensor:
    """Gradient of the target's logit times (image - blurred image): [B, H, W] float32.

    Channels are summed. radius is that of the Gaussian kernel in pixels, twice its
    standard deviation. Raises VxpError for a radius that does not fit in the image.
    """
    if not 1 <= radius < min(batch.space):
        raise VxpError(
            f"taylor-blur: got radius {radius}, expected 1 to {min(batch.space) - 1} "
            f"for images of {batch.space}"
        )
    inputs = batch.inputs.detach().requires_grad_()
    with models.evaluating(model), torch.enable_grad():
        logits = model(inputs).gather(1, batch.targets[:, None])
        (gradient,) = torch.autograd.grad(logits.sum(), inputs)
    blurred: Tensor = gaussian_blur(batch.inputs, [2 * radius + 1] * 2, [radius / 2] * 2)
    return (gradient * (batch.inputs - blurred)).sum(1)
