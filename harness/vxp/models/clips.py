"""Models of clips made of others: frames before channels, a frame model with a declared fusion, a logit for every frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from vxp.catalogue import nearest
from vxp.core import VxpError
from vxp.outputs import Says

Fusion = Literal["log-mean-exp", "mean", "max"]
FUSIONS: Mapping[Fusion, Callable[[Tensor], Tensor]] = {
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
        found = self.model(clips.transpose(1, 2))
        logits: Tensor = getattr(found, "logits", found)  # transformers' models return them among other things
        return logits


class ByFrames(nn.Module):
    """A model of clips that looks at every frame by itself: `by_frame` maps frames [N, C, H, W] to vectors [N, D], and `fused`
    makes of those of clips, [B, T, D], what the model says. So the vectors of frames that do not change are computed once."""

    @property
    def by_frame(self) -> nn.Module:
        raise NotImplementedError

    def fused(self, vectors: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips.transpose(1, 2)
        return self.fused(self.by_frame(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]))


class LateFusion(ByFrames):
    """A model of images [N, C, H, W] as one of clips: every frame by itself, then the fusion of the logits."""

    def __init__(self, model: nn.Module, fusion: Fusion = "log-mean-exp") -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise VxpError(f"no fusion is called {fusion!r}{nearest(fusion, list(FUSIONS))}; expected one of "
                           f"{', '.join(FUSIONS)}")
        self.model, self.fusion = model, fusion

    @property
    def by_frame(self) -> nn.Module:
        return self.model

    def fused(self, vectors: Tensor) -> Tensor:
        return FUSIONS[self.fusion](vectors)


class FrameEvents(Says):
    """A model of clips whose logits [B, T] are of frames, and not of classes."""

    says = "events"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.model(clips)
        return logits[..., 0] if logits.ndim == 3 and logits.shape[2] == 1 else logits


def frames_first(model: nn.Module) -> nn.Module:
    """A model that takes clips [B, T, C, H, W], such as those of transformers, as one that takes [B, C, T, H, W]. It returns
    logits, or an object that has them as `logits`."""
    return FramesFirst(model)


def late_fusion(model: nn.Module, fusion: Fusion = "log-mean-exp") -> nn.Module:
    """A model of images as one of clips [B, C, T, H, W]: its logits for every frame, fused by `log-mean-exp`, `mean` or `max`
    over the frames."""
    return LateFusion(model, fusion)


def frame_events(model: nn.Module) -> nn.Module:
    """A model of clips [B, C, T, H, W] that returns a logit for every frame, [B, T], such as a detector of shot boundaries or
    of the onset of an action, so that VXP knows it is no classifier: targets are numbers of frames, and the probability of a
    frame is the sigmoid of its logit."""
    return FrameEvents(model)


def misfit(model: nn.Module, inputs: Tensor) -> str:
    """What to do with a model that failed on these inputs, in words, where it takes the like in another form; else nothing."""
    one = inputs[:1]
    if inputs.ndim == 5 and _takes(model, one.transpose(1, 2)):
        return (f"the model takes clips as [B, T, C, H, W] and was given {tuple(one.shape)}, [B, C, T, H, W]: wrap it, "
                "vxp.frames_first(model), or on the command line --layout btchw")
    if inputs.ndim == 5 and _takes(model, one[:, :, 0]):
        return (f"the model takes images [B, C, H, W] and was given clips {tuple(one.shape)}: wrap it, vxp.late_fusion(model), "
                "or on the command line give an input_size of two numbers, and --fusion")
    if inputs.ndim == 4 and _takes(model, one[:, :, None].expand(-1, -1, 16, -1, -1)):
        return (f"the model takes clips and was given an image {tuple(one.shape)}: let the factory say input_size (T, H, W), "
                "and give --clips")
    return ""


def _takes(model: nn.Module, inputs: Tensor) -> bool:
    try:
        with torch.no_grad():
            model(inputs)
    except Exception:  # whatever somebody's code does
        return False
    return True


__all__ = ["FUSIONS", "ByFrames", "FrameEvents", "FramesFirst", "LateFusion", "frame_events", "frames_first", "late_fusion",
           "misfit"]
