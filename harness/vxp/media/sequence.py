"""Sequences [B, D, n] of features of steps in time, as of the frames of a video, and their fills (clause [sequence-fills])."""

from __future__ import annotations

import torch
from torch import Tensor

from vxp.media import _fills
from vxp.media._types import Imputed, Items, Medium, Painted, Shortened, by_id


def _zero(batch: Items) -> Tensor:
    """Features of zeros."""
    return torch.zeros_like(batch.inputs)


def _mean_step(batch: Items) -> Tensor:
    """The mean over all steps of the sequence."""
    return batch.inputs.double().mean(2, keepdim=True).to(batch.inputs.dtype).expand_as(batch.inputs)


SEQUENCE = Medium("sequence", ("t",), by_id(
    Shortened("remove", whole="zero"), Painted("zero", _zero), Painted("mean-step", _mean_step),
    Imputed("hold", _fills.held, whole="zero")))

__all__ = ["SEQUENCE"]
