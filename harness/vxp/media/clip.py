"""Clips [B, C, T, H, W] and their fills (clause [clip-fills])."""

from __future__ import annotations

import torch
from torch import Tensor

from vxp.media import _fills
from vxp.media._types import Imputed, Items, Medium, Painted, by_id


def _blur(batch: Items) -> Tensor:
    """Every frame under the blur of images: it leaves motion as it is."""
    frames = batch.raw().transpose(1, 2)
    smooth = _fills.blurred(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    return batch.to_inputs(smooth.transpose(1, 2))


def _mean_frame(batch: Items) -> Tensor:
    """Every place's mean over time."""
    return batch.inputs.double().mean(2, keepdim=True).to(batch.inputs.dtype).expand_as(batch.inputs)


def _reverse(batch: Items) -> Tensor:
    """The clip run backwards."""
    return batch.inputs.flip(2)


def _hold(batch: Items, items: Tensor, removed: Tensor) -> Tensor:
    """What was last seen at the place stays: a removed position takes the value of the latest frame before it that keeps the
    place, without one that of the earliest after it, and without either the mean of the model's preprocessing."""
    clips = batch.inputs[items]
    kept = ~removed.view(-1, *batch.space)
    T = kept.shape[1]
    frame = torch.arange(T, device=clips.device).view(1, -1, 1, 1)
    last = torch.where(kept, frame, -1).cummax(1).values
    first = torch.where(kept, frame, T).amin(1, keepdim=True)
    source = torch.where(last < 0, first, last)
    held = clips.gather(2, source.clamp_max(T - 1)[:, None].expand_as(clips))
    return torch.where((source == T)[:, None], _fills.mean(batch)[items], held)


CLIP = Medium("clip", ("t", "y", "x"), by_id(
    Imputed("hold", _hold, whole="mean"), Painted("black", _fills.black), Painted("mean", _fills.mean), Painted("blur", _blur),
    Painted("noise", _fills.noise), Painted("mean-frame", _mean_frame), Painted("reverse", _reverse)))

__all__ = ["CLIP"]
