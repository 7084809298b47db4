"""Fills that several media have: constants, noise, and what was last seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vxp import random
from vxp.machine import sent
from vxp.media._types import Items


def constant(values: Sequence[float], batch: Items) -> Tensor:
    """One raw value per channel, at every position."""
    raw = sent(torch.tensor(values, dtype=batch.inputs.dtype).view(1, -1, *[1] * len(batch.space)), batch.inputs.device)
    return batch.to_inputs(raw.expand_as(batch.inputs[:1])).expand_as(batch.inputs)


def black(batch: Items) -> Tensor:
    """Raw 0."""
    return constant([0.0] * batch.inputs.shape[1], batch)


def mean(batch: Items) -> Tensor:
    """The mean of the model's preprocessing."""
    return constant(batch.normalization.mean, batch)


def noise(batch: Items) -> Tensor:
    """Uniform per raw value, keyed by item."""
    raw = torch.stack([
        random.uniforms(random.key(batch.seed, item, "fill-noise@1", "noise"), 0, batch.positions, batch.inputs.shape[1],
                        device=batch.inputs.device)
        for item in batch.ids
    ])
    return batch.to_inputs(raw.view_as(batch.inputs))


def blurred(raw: Tensor) -> Tensor:
    """Images [N, C, H, W] under a normalised truncated Gaussian of radius and sigma round(5*min(H, W)/224), halves up, with
    reflect padding; as they are where that is 0."""
    r = math.floor(5 * min(raw.shape[2:]) / 224 + 0.5)
    if r == 0:
        return raw
    weights = [math.exp(-(k**2) / (2 * r**2)) for k in range(-r, r + 1)]
    smooth = F.pad(raw, (r, r, r, r), mode="reflect")
    for dim in (2, 3):
        # shifted sums: a convolution of one channel costs a CPU thirty times as much, and a GPU may round it to TF32
        n = smooth.shape[dim] - 2 * r
        total = torch.zeros_like(smooth.narrow(dim, 0, n))
        for k, weight in enumerate(weights):
            total.add_(smooth.narrow(dim, k, n), alpha=weight / sum(weights))
        smooth = total
    return smooth


def held(batch: Items, items: Tensor, removed: Tensor) -> Tensor:
    """What was last seen at the place, of items [B, C, T, ...], stays: a removed position takes the value of the latest frame
    before it that keeps the place, without one that of the earliest after it, and without either the mean of the model's
    preprocessing."""
    clips = batch.inputs[items]
    kept = ~removed.view(-1, 1, *batch.space)
    frames, keeps, seen = clips.unbind(2), kept.to(clips.dtype).unbind(2), kept[:, :, 0]
    known = [seen.to(clips.dtype)]
    # frame by frame, since a gather over the clip costs several times as much; lerp is exact at the weights 0 and 1
    for t in range(1, len(frames)):
        torch.lerp(frames[t - 1], frames[t], keeps[t], out=frames[t])
        seen = seen | kept[:, :, t]
        known.append(seen.to(clips.dtype))
    after = mean(batch)[:, :, -1][items]
    for t in range(len(frames) - 1, -1, -1):
        after = torch.lerp(after, frames[t], known[t], out=frames[t])
    return clips


__all__ = ["black", "blurred", "constant", "held", "mean", "noise"]
