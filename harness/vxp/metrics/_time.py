"""What a map over a clip says of its frames and of its tubes, and which frames have truth (clauses 5.14.5 to 5.14.7)."""

from __future__ import annotations

import torch
from torch import Tensor

from vxp.core import Case
from vxp.metrics._truth import truth


def frame_relevance(case: Case) -> Tensor:
    """q_t float64 [B, T]: the positive relevance of every frame."""
    return case.map.double().clamp_min(0).flatten(2).sum(2)


def truth_frames(case: Case, metric: str) -> Tensor:
    """bool [B, T]: the frames in which the truth has a position."""
    inside: Tensor = truth(case, ("mask",), metric).unflatten(1, (case.batch.space[0], -1))
    return inside.any(2)


def alike(values: Tensor) -> Tensor:
    """bool [B]: items of which all values [B, N] are equal, so that they rank nothing."""
    return values.amax(1) == values.amin(1)


def ranks(values: Tensor) -> Tensor:
    """int64 [B, N]: the rank of every value, the largest first, ties by index."""
    places = values.argsort(dim=1, descending=True, stable=True)
    return torch.empty_like(places).scatter_(1, places, torch.arange(places.shape[1], device=places.device).expand_as(places))


def by_frame(case: Case) -> str:
    """The order in which frames go, by q_t."""
    H, W = case.batch.space[1:]
    return case.grouped("frames", lambda: ranks(frame_relevance(case)).repeat_interleave(H * W, dim=1))


def by_tube(case: Case) -> str:
    """The order in which tubes go, by the sum of the map over the frames."""
    return case.grouped("tubes", lambda: ranks(tube_relevance(case)).repeat(1, case.batch.space[0]))


def tube_relevance(case: Case) -> Tensor:
    """float64 [B, H*W]: the sum of the map over the frames at every (y, x)."""
    return case.map.double().sum(1).flatten(1)
