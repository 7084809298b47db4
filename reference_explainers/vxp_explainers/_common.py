"""What several explainers need around a model: its mode, the layer of a CAM, the readout and checked parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from captum.attr import LayerActivation
from torch import Tensor, nn
from torch.nn import functional as F
from vxp import models
from vxp.core import Batch, VxpError

ROWS = 64
"""Rows per forward where one map needs many: bounds memory, and results are the same for any number up to rounding."""


def leaf(inputs: Tensor) -> Tensor:
    """A copy of the inputs to differentiate by: the batch's own tensor keeps its requires_grad and grad."""
    return inputs.detach().clone().requires_grad_()


def cam_layer(model: nn.Module, batch: Batch, layer: str | None) -> tuple[str, nn.Module]:
    """The layer of a CAM by its dotted name, by default the last one with spatial output.

    Raises VxpError for an unknown name. Where a module is used more than once in a forward, CAMs read its last use.
    """
    # a command line reads the name of a Sequential's layer, "0", as a number
    name = models.last_spatial_layer(model, batch.inputs[:1]) if layer is None else str(layer)
    return name, models.find_layer(model, name)


def check_spatial(name: str, output: object, batch: Batch) -> None:
    """VxpError unless the layer's output, or the map that captum made of it, is one tensor [B, C, h, w]."""
    if not isinstance(output, Tensor) or output.ndim != 4 or len(output) != len(batch):
        got = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise VxpError(f"layer {name!r} gives {got}, expected a tensor [{len(batch)}, C, h, w]: name a layer with "
                       "spatial output, or none to have it found")


def features(model: nn.Module, name: str, module: nn.Module, batch: Batch) -> Tensor:
    """The layer's output [B, C, h, w] in one forward pass, detached, float64; VxpError where it has no grid."""
    with using(name), torch.no_grad():
        output: Tensor = LayerActivation(model, module).attribute(batch.inputs.detach())
    check_spatial(name, output, batch)
    return output.detach().double()


def features_and_gradient(model: nn.Module, name: str, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
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


@contextmanager
def using(name: str) -> Iterator[None]:
    """VxpError in place of captum's AssertionError where the model's forward does not use the layer."""
    try:
        yield
    except AssertionError as error:
        if not str(error).startswith("Forward hook did not obtain any outputs"):
            raise
        raise unused(name) from error


def unused(name: str) -> VxpError:
    return VxpError(f"layer {name!r} is not used by the model's forward: name another layer, or none to have it found")


def probabilities(logits: Tensor) -> Tensor:
    """Softmax over classes [N, K] in float64, as the metrics read a model."""
    return F.log_softmax(logits.to(torch.float64), dim=1).exp()


def rows(count: int) -> list[slice]:
    """0..count in slices of at most ROWS."""
    return [slice(start, min(start + ROWS, count)) for start in range(0, count, ROWS)]


def blended(inputs: Tensor, fill: Tensor, masks: Tensor) -> Tensor:
    """One item [C, H, W] kept where a mask [N, H, W] is 1 and replaced by the fill where it is 0: [N, C, H, W].

    Normalisation is affine, so that this in input space is the same blend in raw space.
    """
    return fill + masks[:, None] * (inputs - fill)


def check_at_least(explainer: str, least: float, **values: float) -> None:
    """VxpError for the first parameter below the least value that makes sense."""
    for name, value in values.items():
        if not value >= least:
            raise VxpError(f"explainer {explainer!r}: {name} is {value!r}, expected at least {least!r}")


def check_one_of(explainer: str, name: str, value: str, known: Sequence[str]) -> None:
    """VxpError unless the value is one of the known ones."""
    if value not in known:
        raise VxpError(f"explainer {explainer!r}: {name} is {value!r}, expected one of {', '.join(map(repr, known))}")
