"""Clips [B, C, T, H, W] and their fills (clause [clip-fills])."""

from __future__ import annotations

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


CLIP = Medium("clip", ("t", "y", "x"), by_id(
    Imputed("hold", _fills.held, whole="mean"), Painted("black", _fills.black), Painted("mean", _fills.mean),
    Painted("blur", _blur), Painted("noise", _fills.noise), Painted("mean-frame", _mean_frame), Painted("reverse", _reverse),
    Shortened("remove", whole="mean")))

__all__ = ["CLIP"]
