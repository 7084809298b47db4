"""Find the layer whose activations a CAM reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from vxp.catalogue import nearest
from vxp.core import VxpError


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The submodule of this dotted name; VxpError with the nearest name."""
    known: dict[str, nn.Module] = dict(model.named_modules())
    known.pop("", None)
    if name not in known:
        raise VxpError(f"the model has no layer {name!r}{nearest(name, list(known))}; "
                       f"print(model) shows its {len(known)} layers")
    return known[name]


def last_spatial_layer(model: nn.Module, inputs: Tensor) -> str:
    """The dotted name of the last features that still have a grid: the last module in execution order that returns
    [B, C, h, w] with h*w > 1.

    A module that runs several times in a pass (a shared activation) is meant by its last run, which is what the CAMs
    read: one whose last run has no grid, because the classifier uses it too, is passed over. inputs [1, C, H, W].
    VxpError where the model has no such layer.
    """
    found = _spatial(model, inputs)
    return next(reversed(found))


def spatial_layers(model: nn.Module, inputs: Tensor) -> list[str]:
    """The dotted names of the last layer of every grid, in execution order, so that the coarsest of a CNN comes last.

    What lies inside a block that leaves another grid is passed over: it is on the way, and not yet what the block says.
    Modules that run several times count by their last run, as in `last_spatial_layer`. inputs [1, C, H, W]. VxpError where
    the model has no layer with a grid.
    """
    found, modules = _spatial(model, inputs), dict(model.named_modules())

    def inside(name: str) -> bool:
        blocks = [".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)]
        return any(found.get(block, found[name]) != found[name] for block in blocks
                   if not isinstance(modules[block], nn.Sequential))

    last = {size: name for name, size in found.items() if not inside(name)}
    return [name for name in found if name in last.values()]


def _spatial(model: nn.Module, inputs: Tensor) -> dict[str, tuple[int, int]]:
    """The grid of every layer that returns [B, C, h, w] with h*w > 1, in order of its last run."""
    spatial: dict[str, tuple[int, int]] = {}

    def seen(name: str, output: object) -> None:
        spatial.pop(name, None)
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            spatial[name] = (output.shape[2], output.shape[3])

    handles = [module.register_forward_hook(lambda m, a, out, name=name: seen(name, out))
               for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not spatial:
        raise VxpError("the model has no layer that returns features [B, C, h, w] with a grid: name a layer= whose output "
                       "has one, or use an explainer that needs no layer")
    return spatial


@contextlib.contextmanager
def last_linear_input(model: nn.Module, *, wanted: bool = True) -> Iterator[list[Tensor]]:
    """A list that holds, after a forward pass, the input [N, D] of the linear layer that ran last: what is called the
    model's representation. VxpError on exit where no linear layer ran; empty where it is not wanted."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen[:] = [arguments[0].detach().flatten(1)]

    layers = [m for m in model.modules() if isinstance(m, nn.Linear)] if wanted else []
    handles = [layer.register_forward_pre_hook(keep) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
    if wanted and not seen:
        raise VxpError("a metric compares the model's representation, the input of its last linear layer, and the model "
                       "has none that runs: leave the metric out")
