"""The randomised model of the sanity checks: every parameter drawn anew, each tensor by its own key."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from vxp import random
from vxp.core import VxpError

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
SCALES = ("weight", "gamma", "scale", "running_var")
"""What the tensors of a norm that are 1 at the start are called; all others are 0."""
OTHER_SD = 0.02
"""Standard deviation of what is no weight matrix, bias or norm: class tokens, position embeddings, layer scales."""


def randomised(
    model: nn.Module, stream: str, seed: int, *, mode: str = "all", stage: int = 1, stages: int = 1
) -> nn.Module:
    """A copy of the model with its parameters drawn anew from the initial distribution of their kind.

    All of them, or by stages: the modules that own parameters, in the order of `named_modules` reversed, are cut into
    `stages` runs of which the s-th ends at floor(s*M/stages); `cascading` draws the first `stage` runs anew (from the
    output down), `independent` the one of this number only.

    Weights of two or more dimensions: normal with variance 2/fan_in (He et al. 2015), which keeps signals alive in
    networks without working normalisation statistics. Norm layers (torch's, any with running statistics, frozen ones
    too, and any whose class is called so): scale 1, shift 0, running mean 0 and variance 1.
    Other biases: 0. Everything else (class token, position embedding, layer scale): normal with sd 0.02. Each tensor
    has the key (seed, "", "randomise@1", "<stream>/<tensor name>"), so no two tensors are twins. The copy is in eval
    mode; the model is untouched.
    """
    twin = copy.deepcopy(model).eval()
    norm_of = {f"{prefix}.{name}".lstrip("."): name for prefix, module in twin.named_modules() if _is_norm(module)
               for name, _ in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]}
    owners = dict(twin.named_modules())
    chosen = _chosen(twin, mode, stage, stages)
    with torch.no_grad():
        for name, tensor in [*twin.named_parameters(), *twin.named_buffers()]:
            if name.rpartition(".")[0] not in chosen:
                continue
            if name in norm_of:
                _reset_norm(norm_of[name], tensor)
            elif isinstance(tensor, nn.Parameter):
                _draw(tensor, name, owners[name.rpartition(".")[0]], random.key(seed, "", "randomise@1", f"{stream}/{name}"))
    return twin


def _chosen(model: nn.Module, mode: str, stage: int, stages: int) -> set[str]:
    """Names of the modules whose own tensors are drawn anew."""
    if mode == "all":
        return {name for name, _ in model.named_modules()}
    if mode not in ("cascading", "independent") or not 1 <= stage <= stages:
        raise VxpError(f"randomisation {mode!r}, stage {stage} of {stages}: expected 'all', 'cascading' or 'independent', and "
                       "a stage from 1 to the number of stages")
    owners = [name for name, module in model.named_modules() if next(module.parameters(recurse=False), None) is not None]
    owners.reverse()
    first = 0 if mode == "cascading" else (stage - 1) * len(owners) // stages
    return set(owners[first : stage * len(owners) // stages])


def compensated(model: nn.Module, amount: float) -> nn.Module:
    """A copy f' of the model with f'(x) = f(x - amount), by a hook before its forward pass: its layers keep their names."""
    twin = copy.deepcopy(model).eval()
    twin.register_forward_pre_hook(lambda module, arguments: (arguments[0] - amount, *arguments[1:]))
    return twin


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, NORMS) or hasattr(module, "running_var") or "norm" in type(module).__name__.lower()


def _reset_norm(name: str, tensor: Tensor) -> None:
    tensor.fill_(1) if name in SCALES else tensor.zero_()


def _draw(tensor: Tensor, name: str, owner: nn.Module, key: random.Key) -> None:
    leaf = name.rpartition(".")[2]
    if tensor.ndim >= 2 and leaf.endswith("weight") and not isinstance(owner, nn.Embedding):
        fan_in = tensor[0].numel()
        if isinstance(owner, nn.modules.conv._ConvTransposeNd):
            fan_in = tensor.shape[0] * tensor[0, 0].numel() // owner.groups
        tensor.copy_(_normal(key, tensor) * math.sqrt(2 / fan_in))
    elif tensor.ndim == 1 and leaf.endswith("bias"):
        tensor.zero_()
    else:
        tensor.copy_(_normal(key, tensor) * OTHER_SD)


def _normal(key: random.Key, like: Tensor) -> Tensor:
    """Standard normals in the tensor's shape, float32 whatever its type: element e is channel e % 4 of position e // 4, draw
    0."""
    n = like.numel()
    return random.normals(key, 0, -(-n // 4), 4).T.reshape(-1)[:n].view(like.shape)
