"""Find the layer whose activations a CAM reads."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from vxp.catalogue import nearest
from vxp.core import VxpError
from vxp.models.volumes import PREFIXES, channels_first, token_volume


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The submodule of this dotted name; VxpError with the nearest name."""
    known: dict[str, nn.Module] = dict(model.named_modules())
    known.pop("", None)
    if name not in known:
        raise VxpError(f"the model has no layer {name!r}{nearest(name, list(known))}; "
                       f"print(model) shows its {len(known)} layers")
    return known[name]


def token_grid(tokens: int, space: Sequence[int]) -> tuple[int, int, int] | None:
    """How a transformer's tokens [B, tokens, D] lie on the image: how many come before the patches, and the rows and
    columns of the patches, which are as square as the image's sides (H, W) are to each other. None where no such grid of
    at least 2 x 2 fits."""
    H, W = space
    for prefix in PREFIXES:
        patches = max(0, tokens - prefix)
        h = math.isqrt(patches * H // W)
        if h > 1 and h * h * W == patches * H and patches % h == 0 and patches > h:
            return prefix, h, patches // h
    return None


def token_place(model: nn.Module, output: Tensor, items: int, space: Sequence[int]) -> tuple[int, ...] | None:
    """How the tokens [N, tokens, D] of so many images (H, W) or clips (T, H, W) lie: how many come before the patches, and the
    grid, (t, h, w) where N counts clips, and (h, w) where it counts images or the frames of all clips. None for no grid."""
    *time, H, W = space
    if time and len(output) == items and (found := token_volume(model, output.shape[1], space)):
        return found
    return token_grid(output.shape[1], (H, W)) if not time or len(output) == items * math.prod(time) else None


def last_spatial_layer(model: nn.Module, inputs: Tensor) -> str:
    """The dotted name of the last features that still have a grid: the last module in execution order that returns
    [B, C, h, w] with h*w > 1, of clips [B, C, t, h, w] or [B, t, h, w, C], or tokens [B, N, D] on a grid of patches (see
    `token_grid` and `token_volume`) that the logits still depend on.

    What follows a transformer's last attention is passed over where only the class token is read: the gradient of the
    logits by the patches is 0 there. So are an attention's own parts. A module that runs several times in a pass (a shared
    activation) is meant by its last run, which is what the CAMs read: one whose last run has no grid, because the
    classifier uses it too, is passed over. inputs [1, C, H, W]. VxpError where the model has no such layer.
    """
    found = _spatial(model, inputs)
    return next(reversed(found))


def spatial_layers(model: nn.Module, inputs: Tensor) -> list[str]:
    """The dotted names of the last layer of every grid, in execution order, so that the coarsest of a CNN comes last.

    What lies inside a block that leaves another grid is passed over: it is on the way, and not yet what the block says.
    Modules that run several times count by their last run, and tokens are taken, as in `last_spatial_layer`.
    inputs [1, C, H, W]. VxpError where the model has no layer with a grid.
    """
    found, modules = _spatial(model, inputs), dict(model.named_modules())

    def inside(name: str) -> bool:
        blocks = [".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)]
        return any(found.get(block, found[name]) != found[name] for block in blocks
                   if not isinstance(modules[block], nn.Sequential))

    last = {size: name for name, size in found.items() if not inside(name)}
    return [name for name in found if name in last.values()]


def _spatial(model: nn.Module, inputs: Tensor) -> dict[str, tuple[int, ...]]:
    """The grid of every layer that returns [B, C, h, w] with h*w > 1, of clips [B, C, t, h, w], or tokens that matter, in order
    of its last run. A model of frames runs on all frames of a clip at once."""
    spatial: dict[str, tuple[int, ...]] = {}
    tokens: set[int] = set()
    frames, volume = len(inputs) * math.prod(inputs.shape[2:-2]), inputs.ndim == 5

    def seen(name: str, output: object) -> None:
        spatial.pop(name, None)
        if not isinstance(output, Tensor):
            return
        whole = output.ndim == inputs.ndim
        if whole and volume:
            output = channels_first(output, inputs.shape[2:])
        if (whole or (output.ndim == 4 and len(output) == frames)) and output.shape[-2] * output.shape[-1] > 1:
            spatial[name] = tuple(output.shape[2:])
        elif output.ndim == 3 and (found := token_place(model, output, len(inputs), inputs.shape[2:])):
            spatial[name] = found[1:]
            tokens.add(output.shape[1])

    with _watching(model, seen), torch.no_grad():
        model(inputs)
    if tokens:
        idle = _idle_patches(model, inputs) | _inside_attention(model)
        # [B, heads, N, D] inside an attention is no grid, though it has the dimensions of one
        spatial = {name: size for name, size in spatial.items()
                   if name not in idle and (len(size) > 2 or size[0] not in tokens)}
    if not spatial:
        raise VxpError("the model has no layer that returns features [B, C, h, w] with a grid, or tokens on one: name a "
                       "layer= whose output has one, or use an explainer that needs no layer")
    return spatial


def _idle_patches(model: nn.Module, inputs: Tensor) -> set[str]:
    """The layers whose patch tokens no longer reach the logits: those after the last attention of a class token."""
    outputs: dict[str, Tensor] = {}

    def seen(name: str, output: object) -> Tensor | None:
        outputs.pop(name, None)
        if not isinstance(output, Tensor) or output.ndim != 3 or not output.requires_grad:
            return None
        outputs[name] = output
        return output.clone()  # later modules may work in place

    with _watching(model, seen), torch.enable_grad():
        logits = model(inputs.detach().clone().requires_grad_())
        gradients = torch.autograd.grad(logits.sum(), list(outputs.values()), allow_unused=True) if outputs else ()
    grids = {name: token_place(model, output, len(inputs), inputs.shape[2:]) for name, output in outputs.items()}
    return {name for (name, grid), gradient in zip(grids.items(), gradients, strict=True)
            if grid and (gradient is None or not gradient[:, grid[0]:].any())}


def _inside_attention(model: nn.Module) -> set[str]:
    """The parts of modules whose class is called an attention: queries, keys and values are on the way to features."""
    called = [name for name, module in model.named_modules() if name and "attention" in type(module).__name__.lower()]
    return {f"{name}.{part}" for name in called for part, _ in find_layer(model, name).named_modules() if part}


@contextlib.contextmanager
def _watching(model: nn.Module, seen: Callable[[str, object], object]) -> Iterator[None]:
    """Every submodule's name and output are told; what is returned other than None takes the output's place."""
    handles = [module.register_forward_hook(lambda m, a, out, name=name: seen(name, out))
               for name, module in model.named_modules() if name]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def last_linear_input(model: nn.Module, *, wanted: bool = True) -> Iterator[list[Tensor]]:
    """A list that holds, after a forward pass, the input [N, D] of the linear layer that ran last: what is called the
    model's representation where its first dimension is that of the rows. Empty where no linear layer ran, and where it is
    not wanted."""
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
