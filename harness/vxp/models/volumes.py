"""How a model's features of clips lie in time and space: tokens of tubelets on their grid, and channels that come last."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

PREFIXES = (1, 0, 2, 5, 4)
"""How many tokens may stand before the patches, the likeliest first: a class token; none; one of distillation more; four
registers more; registers alone."""


def tubelets(model: nn.Module, space: Sequence[int]) -> tuple[int, ...] | None:
    """The grid (t, h, w) that the model's first 3-D convolution makes of clips (T, H, W): that of the tubelets where it embeds
    them, as in VideoMAE, ViViT, MViT and Swin. None where the model has none, or one that takes no such clips."""
    first = next((module for module in model.modules() if isinstance(module, nn.Conv3d)), None)
    if first is None or len(space) != 3 or isinstance(first.padding, str):
        return None
    sizes = zip(space, first.padding, first.dilation, first.kernel_size, first.stride, strict=True)
    grid = tuple((size + 2 * pad - spread * (kernel - 1) - 1) // stride + 1 for size, pad, spread, kernel, stride in sizes)
    return grid if min(grid) > 0 else None


def token_volume(model: nn.Module, tokens: int, space: Sequence[int]) -> tuple[int, int, int, int] | None:
    """How a transformer's tokens [B, tokens, D] lie in clips (T, H, W): how many come before the patches, and the grid
    (t, h, w), the slowest axis first: that of the tubelets, or that halved in space once or more, as MViT pools it. None where
    no such grid of at least two patches a step fits."""
    grid = tubelets(model, space)
    while grid is not None and grid[1] * grid[2] > 1:
        for prefix in PREFIXES:
            if prefix + math.prod(grid) == tokens:
                return prefix, grid[0], grid[1], grid[2]
        grid = (grid[0], -(-grid[1] // 2), -(-grid[2] // 2))
    return None


def channels_first(features: Tensor, space: Sequence[int]) -> Tensor:
    """Features [B, C, t, h, w] of clips (T, H, W): as they are, or a view of [B, t, h, w, C], as Swin has them. These are told
    by their grid, which is no finer than the clip and has the proportions of its frames; the other reading has neither."""
    first, last = features.shape[2:], features.shape[1:4]
    return features.movedim(-1, 1) if _fits(last, space) and not _fits(first, space) else features


def _fits(grid: torch.Size, space: Sequence[int]) -> bool:
    """Whether a grid (t, h, w) can be one of these clips."""
    _, h, w = grid
    _, H, W = space
    return all(n <= size for n, size in zip(grid, space, strict=True)) and abs(h * W - w * H) < max(H, W)


__all__ = ["PREFIXES", "channels_first", "token_volume", "tubelets"]
