import torch
from torch import Tensor, nn
from vxp import Batch


def vanilla(model: nn.Module, batch: Batch) -> Tensor:
    """The absolute gradient of the target's logit, summed over channels: maps [B, H, W]."""
    inputs = batch.inputs.detach().requires_grad_()
    with torch.enable_grad():
        chosen = model(inputs).gather(1, batch.targets[:, None]).sum()
        return torch.autograd.grad(chosen, inputs)[0].abs().sum(1)
