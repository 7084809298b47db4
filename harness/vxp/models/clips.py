"""Models of clips made of others: frames before channels, and a frame model with a declared fusion."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vxp.catalogue import nearest
from vxp.core import VxpError

FUSIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "log-mean-exp": lambda logits: torch.logsumexp(logits, 1) - math.log(logits.shape[1]),
    "mean": lambda logits: logits.mean(1),
    "max": lambda logits: logits.amax(1),
}
"""How the logits [B, T, K] of the frames become those of the clip. The mean drowns what one frame shows."""


class FramesFirst(nn.Module):
    """A model that takes [B, T, C, H, W] as one that takes [B, C, T, H, W]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        return self.model(clips.transpose(1, 2))  # type: ignore[no-any-return]


class LateFusion(nn.Module):
    """A model of images [N, C, H, W] as one of clips: every frame by itself, then the fusion of the logits."""

    def __init__(self, model: nn.Module, fusion: str = "log-mean-exp") -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise VxpError(f"no fusion is called {fusion!r}{nearest(fusion, list(FUSIONS))}; expected one of "
                           f"{', '.join(FUSIONS)}")
        self.model, self.fusion = model, fusion

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips.transpose(1, 2)
        logits = self.model(frames.flatten(0, 1))
        return FUSIONS[self.fusion](logits.unflatten(0, frames.shape[:2]))


def frames_first(model: nn.Module) -> nn.Module:
    """A model that takes clips [B, T, C, H, W], such as those of transformers, as one that takes [B, C, T, H, W]."""
    return FramesFirst(model)


def late_fusion(model: nn.Module, fusion: str = "log-mean-exp") -> nn.Module:
    """A model of images as one of clips [B, C, T, H, W]: its logits for every frame, fused by `log-mean-exp`, `mean` or `max`
    over the frames."""
    return LateFusion(model, fusion)


__all__ = ["FUSIONS", "FramesFirst", "LateFusion", "frames_first", "late_fusion"]
