"""Clips [B, C, T, H, W] and their fills (clause [clip-fills])."""

from __future__ import annotations

import torch
from torch import Tensor

from vxp.media import _fills
from vxp.media._types import Imputed, Items, Medium, Painted, Shortened, by_id


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
    kept = ~removed.view(-1, 1, *batch.space)
    frames, keeps, seen = clips.unbind(2), kept.to(clips.dtype).unbind(2), kept[:, :, 0]
    known = [seen.to(clips.dtype)]
    # frame by frame, since a gather over the clip costs several times as much; lerp is exact at the weights 0 and 1
    for t in range(1, len(frames)):
        torch.lerp(frames[t - 1], frames[t], keeps[t], out=frames[t])
        seen = seen | kept[:, :, t]
        known.append(seen.to(clips.dtype))
    after = _fills.mean(batch)[:, :, -1][items]
    for t in range(len(frames) - 1, -1, -1):
        after = torch.lerp(after, frames[t], known[t], out=frames[t])
    return clips


CLIP = Medium("clip", ("t", "y", "x"), by_id(
    Imputed("hold", _hold, whole="mean"), Painted("black", _fills.black), Painted("mean", _fills.mean), Painted("blur", _blur),
    Painted("noise", _fills.noise), Painted("mean-frame", _mean_frame), Painted("reverse", _reverse),
    Shortened("remove", whole="mean")))

__all__ = ["CLIP"]
