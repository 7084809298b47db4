"""A lab's own method: local contrast where the class's gradient is large."""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from vxp import Batch, explainer


@explainer("contrast-gradient", signed=False, family="gradient", needs=("gradients",), passes=2, source="made up for this page")
def contrast_gradient(model: nn.Module, batch: Batch, *, radius: int = 3) -> Tensor:
    with torch.enable_grad():
        inputs = batch.inputs.detach().requires_grad_()
        chosen = model(inputs).gather(1, batch.targets[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, inputs)
    size = 2 * radius + 1
    smooth = avg_pool2d(inputs.detach(), size, stride=1, padding=radius, count_include_pad=False)
    return ((inputs.detach() - smooth) * gradient).abs().sum(1)
