"""The attention probabilities of a vision transformer, and what its class token looks at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle
from vxp import models
from vxp.core import Batch, VxpError


@contextmanager
def attentions(model: nn.Module) -> Iterator[list[Tensor]]:
    """A list that holds, after a forward pass, the attention probabilities [B, heads, N, N] of every layer in the order in
    which they ran; what follows is computed from them, so that gradients by them exist.

    Read are torch's own `nn.MultiheadAttention`, whose output is computed again from its probabilities, since it may keep
    them to itself; attention as timm writes it: modules with `fused_attn`, which is switched off meanwhile, and
    `attn_drop`, which the probabilities go through; and attention of Hugging Face's transformers, which is `eager` meanwhile
    and returns its probabilities. VxpError for a masked or a cross attention.
    """
    found: list[Tensor] = []
    handles: list[RemovableHandle] = []
    fused: list[tuple[Any, bool]] = []
    configs: dict[int, tuple[Any, str]] = {}

    def again(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        assert isinstance(module, nn.MultiheadAttention)
        attended, probabilities = _attended(module, arguments, named)
        found.append(probabilities)
        return attended, output[1]

    def passed(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        found.append(output)

    def returned(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        # the modules around it may hand the same probabilities on
        if isinstance(output, tuple) and len(output) > 1 and isinstance(output[1], Tensor) and output[1].ndim == 4 \
                and not any(output[1] is known for known in found):
            found.append(output[1])

    try:
        for module in model.modules():
            if isinstance(module, nn.MultiheadAttention):
                handles.append(module.register_forward_hook(again, with_kwargs=True))
            elif isinstance(getattr(module, "fused_attn", None), bool) and isinstance(module.attn_drop, nn.Module):
                fused.append((module, bool(module.fused_attn)))
                handles.append(module.attn_drop.register_forward_hook(passed))
            elif isinstance(how := getattr(config := getattr(module, "config", None), "_attn_implementation", None), str):
                configs.setdefault(id(config), (config, how))
                if "attention" in type(module).__name__.lower():
                    handles.append(module.register_forward_hook(returned))
        for module, _ in fused:
            module.fused_attn = False
        for config, _ in configs.values():
            config._attn_implementation = "eager"
        yield found
    finally:
        for module, before in fused:
            module.fused_attn = before
        for config, how in configs.values():
            config._attn_implementation = how
        for handle in handles:
            handle.remove()


def _attended(module: nn.MultiheadAttention, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """What a self-attention gives, in the layout of its input, and its probabilities [B, heads, N, N]."""
    given = dict(zip(("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask"), arguments, strict=False))
    given |= named
    query = given["query"]
    if given["key"] is not query or given["value"] is not query or module.in_proj_weight is None or query.ndim != 3:
        raise VxpError("the model attends from some tokens to others: expected self-attention of a batch of tokens only")
    if any(given.get(mask) is not None for mask in ("key_padding_mask", "attn_mask")) or module.bias_k is not None \
            or module.add_zero_attn:
        raise VxpError("the model's attention is masked or has added tokens, expected every token to see every token")
    tokens = query if module.batch_first else query.transpose(0, 1)
    q, k, v = (part.unflatten(2, (module.num_heads, -1)).transpose(1, 2)
               for part in F.linear(tokens, module.in_proj_weight, module.in_proj_bias).chunk(3, dim=2))
    probabilities = (q @ k.transpose(2, 3) / module.head_dim**0.5).softmax(3)
    attended = module.out_proj((probabilities @ v).transpose(1, 2).flatten(2))
    return attended if module.batch_first else attended.transpose(0, 1), probabilities


def check_attentions(explainer: str, model: nn.Module, found: list[Tensor], batch: Batch) -> tuple[int, ...]:
    """How the tokens lie (see `vxp.models.token_place`); VxpError unless there is attention, and all of it among the same
    tokens, on a grid, of every item, or of every frame of a model of frames."""
    if not found:
        raise VxpError(f"explainer {explainer!r} found no attention in the model, expected nn.MultiheadAttention, timm's "
                       "Attention or that of transformers: use it on vision transformers")
    shapes = [tuple(a.shape) for a in found]
    of, n = shapes[0][0], shapes[0][-1]
    place = None
    if all(len(s) == 4 and s[0] == of and s[2:] == (n, n) for s in shapes):
        place = models.token_place(model, found[0][:, 0], len(batch), batch.space)
    if place is None or of != len(batch) * (1 if len(place) == 1 + len(batch.space) else math.prod(batch.space[:-2])):
        raise VxpError(f"explainer {explainer!r} found attention of the shapes {sorted(set(shapes))}, expected "
                       f"[{len(batch)}, heads, N, N] of the same N tokens on a grid in every layer")
    return place


def seen_patches(relevance: Tensor, place: tuple[int, ...], batch: Batch) -> Tensor:
    """[B, h, w], of clips [B, t, h, w]: the patches in the class token's row of relevance [N, tokens, tokens]; in the mean of
    all rows where there is no class token."""
    prefix, *grid = place
    row = relevance[:, 0] if prefix else relevance.mean(1)
    patches: Tensor = row[:, prefix:].unflatten(1, grid)
    return patches if patches.ndim == 1 + len(batch.space) else patches.unflatten(0, (len(batch), *batch.space[:-2]))


def identity(attention: Tensor) -> Tensor:
    """float64 [N, N] for attention [B, heads, N, N]."""
    return torch.eye(attention.shape[-1], dtype=torch.float64, device=attention.device)
