"""What several explainers need around a model: its mode, the layer of a CAM, the readout and checked parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp import models, outputs
from vxp.core import Batch, VxpError
from vxp.core.perturb import cells
from vxp.core.segments import slic
from vxp.explainers import ORACLE_TRUTH
from vxp.media import SEQUENCE

ROWS, POSITIONS = 64, 64 * 224 * 224
"""Rows per forward where one map needs many, and the positions that they may have together: this bounds memory, and results
are the same for any number up to rounding."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luminance (ITU-R BT.601)."""

READOUTS = ("probability", "logit")
REGIONS = ("slic", "grid")


def leaf(inputs: Tensor) -> Tensor:
    """A copy of the inputs to differentiate by: the batch's own tensor keeps its requires_grad and grad."""
    return inputs.detach().clone().requires_grad_()


def scalar(model: nn.Module, batch: Batch) -> tuple[Callable[[Tensor], Tensor], Tensor | None]:
    """What gradients are taken of, and the targets that captum picks from it: logits, of a model that scores steps their
    mean."""
    return (model, batch.targets) if outputs.of(model).targets else (lambda inputs: model(inputs).mean(1), None)


def fragments(model: nn.Module, batch: Batch) -> Tensor | None:
    """int64 [B, n]: the fragment of every step where explanations are scores of fragments, which are those of sequences and of
    models that score steps; None where they are maps, as of the objects in clips. VxpError for such items that are not divided
    into fragments."""
    temporal = batch.medium is SEQUENCE or (outputs.of(model) is outputs.SEQUENCE and "object" not in batch.parts)
    return batch.parts_of("fragment") if temporal else None


def luminance(batch: Batch) -> Tensor:
    """float64 [B, *space]: the luminance of the raw inputs, of any but three channels their mean."""
    raw = batch.raw().detach().double()  # autocast leaves float64 alone: the map is the same at every precision
    C = raw.shape[1]
    weights = raw.new_tensor(LUMA) if len(LUMA) == C else raw.new_full((C,), 1 / C)
    return torch.einsum("bcyx,c->byx", raw.flatten(2, -2), weights).view(len(raw), *batch.space)


def truth_of(name: str, batch: Batch) -> Tensor:
    """bool [B, H, W]: the first of the oracles' truths that the batch has. VxpError where it has none of them."""
    for kind in ORACLE_TRUTH:
        if kind in batch.truth:
            return batch.truth[kind].detach() != 0
    raise VxpError(f"explainer {name!r} needs the truth {' or '.join(map(repr, ORACLE_TRUTH))}, the batch has "
                   f"{', '.join(map(repr, sorted(batch.truth))) or 'none'}: leave it out of tasks without truth")


def cam_layer(model: nn.Module, batch: Batch, layer: str | None) -> tuple[str, nn.Module]:
    """The layer of a CAM by its dotted name, by default the last one with spatial output.

    Raises VxpError for an unknown name. Where a module is used more than once in a forward, CAMs read its last use.
    """
    # a command line reads the name of a Sequential's layer, "0", as a number
    name = models.last_spatial_layer(model, batch.inputs[:1]) if layer is None else str(layer)
    return name, models.find_layer(model, name)


def gridded(model: nn.Module, name: str, output: object, batch: Batch) -> Tensor:
    """A layer's output as [B, C, h, w], or [B, C, t, h, w] of clips: as it is, with its channels brought forward, of a model of
    frames put side by side, or a transformer's tokens [B, N, D] on their grid of patches, without the class token and whatever
    else stands before the patches. VxpError for any other output."""
    placed = _placed(model, output, batch) if isinstance(output, Tensor) else None
    if placed is not None:
        return placed
    got = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
    raise VxpError(f"layer {name!r} gives {got}, expected a tensor [{len(batch)}, C, h, w], or tokens [{len(batch)}, N, D] on "
                   "a grid: name a layer with spatial output, or none to have it found")


def _placed(model: nn.Module, output: Tensor, batch: Batch) -> Tensor | None:
    time = batch.space[:-2]
    if output.ndim == batch.inputs.ndim and len(output) == len(batch):
        return models.channels_first(output, batch.space) if time else output
    if output.ndim == 3 and (place := models.token_place(model, output, len(batch), batch.space)):
        output = output[:, place[0]:].transpose(1, 2).unflatten(2, place[1:])
    if output.ndim == batch.inputs.ndim and len(output) == len(batch):
        return output
    if time and output.ndim == 4 and len(output) == len(batch) * math.prod(time):
        beside: Tensor = output.unflatten(0, (len(batch), *time)).transpose(1, 2)
        return beside
    return None


def features(model: nn.Module, name: str, module: nn.Module, batch: Batch) -> Tensor:
    """The layer's output [B, C, h, w] in one forward pass, detached, float64; VxpError where it has no grid."""
    from captum.attr import LayerActivation  # not above: its import takes half a second

    with using(name), torch.no_grad():
        output: Tensor = LayerActivation(model, module).attribute(batch.inputs.detach())
    return gridded(model, name, output, batch).detach().double()


def features_and_gradient(model: nn.Module, name: str, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The layer's output [B, C, h, w] and the gradient of the targets' logits by it, detached, float64."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        gridded(model, name, output, batch)
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
    activation = gridded(model, name, outputs[-1].detach(), batch).double()
    return activation, gridded(model, name, gradient, batch).double()


def observed(model: nn.Module, layers: Sequence[str], batch: Batch) -> tuple[Tensor, list[Tensor], dict[str, int]]:
    """One forward pass: the logits, the features [B, C, h, w] of these layers, and how often each was used. A layer that is
    used more than once is meant by its last use; a transformer's tokens come on their grid, without the class token."""
    outputs: dict[str, Tensor] = {}
    uses = dict.fromkeys(layers, 0)

    def keep(name: str, output: Tensor) -> None:
        uses[name] += 1
        outputs[name] = gridded(model, name, output, batch).detach().clone()  # later modules may work in place

    with hooked({name: lambda _m, _i, out, name=name: keep(name, out) for name in layers}, model):
        logits: Tensor = model(batch.inputs)
    for name in layers:
        if name not in outputs:
            raise unused(name)
    return logits, [outputs[name] for name in layers], uses


@contextmanager
def hooked(hooks: Mapping[str, Callable[..., Any]], model: nn.Module) -> Iterator[None]:
    """Forward hooks on layers by name, for a while."""
    handles = [models.find_layer(model, name).register_forward_hook(hook) for name, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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


def probabilities(model: nn.Module, logits: Tensor) -> Tensor:
    """Probabilities [N, K] in float64 as the metrics read a model: softmax over classes, of events the sigmoid of every frame's
    logit."""
    precise = logits.to(torch.float64)
    return precise.sigmoid() if outputs.of(model) is outputs.EVENTS else F.log_softmax(precise, dim=1).exp()


def read(model: nn.Module, inputs: Tensor, target: Tensor, readout: str) -> Tensor:
    """The target's probability or logit [N], float64, of inputs [N, C, *space]; readout is one of READOUTS."""
    logits: Tensor = model(inputs)
    said: Tensor = (probabilities(model, logits) if readout == "probability" else logits.double())[:, target]
    return said


def regions(explainer: str, batch: Batch, kind: str, n: int) -> list[Tensor]:
    """Per item labels int64 [*space], 0, 1, ..., of about n regions: `slic` superpixels, of clips supervoxels, or a regular
    `grid` of round(sqrt(n)) cells a side, of clips round(cbrt(n)), in time as many as there are frames at most.

    VxpError for another kind, for n below 1 and where superpixels have no scikit-image.
    """
    check_one_of(explainer, "regions", kind, REGIONS)
    check_at_least(explainer, 1, superpixels=n)
    if kind == "grid":
        *time, H, W = batch.space
        wanted = round(n ** (1 / len(batch.space)))
        side = min(wanted, H, W)
        labels = cells(side, H, W, device=batch.inputs.device).view(H, W)
        for frames in time:
            steps = min(wanted, frames)
            at = torch.arange(frames, device=labels.device) * steps // frames
            labels = at[:, None, None] * side**2 + labels
        return [labels] * len(batch)
    if find_spec("skimage") is None:
        raise VxpError(f"explainer {explainer!r} needs scikit-image for superpixels: pip install 'vxp[demo]', or set "
                       "regions to 'grid'")
    return list(slic(batch, n).to(batch.inputs.device))


def read_coalitions(
    model: nn.Module, inputs: Tensor, fill: Tensor, target: Tensor, labels: Tensor, kept: Tensor, readout: str,
) -> Tensor:
    """What the model says [N], float64, of one item [C, *space] where the regions kept, bool [N, M], stay and the others are
    replaced by the fill."""
    parts = [read(model, blended(inputs, fill, kept[part].float()[:, labels]), target, readout)
             for part in rows(len(kept), inputs.shape[1:])]
    return torch.cat(parts)


def at_once(space: Sequence[int]) -> int:
    """How many rows of this grid, (H, W) or (T, H, W), go forward together."""
    return max(1, min(ROWS, POSITIONS // math.prod(space)))


def rows(count: int, space: Sequence[int]) -> list[slice]:
    """0..count in slices of as many rows of this grid, (H, W) or (T, H, W), as go forward together."""
    size = at_once(space)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def blended(inputs: Tensor, fill: Tensor, masks: Tensor) -> Tensor:
    """One item [C, *space] kept where a mask [N, *space] is 1 and replaced by the fill where it is 0: [N, C, *space].

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
