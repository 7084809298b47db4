"""What a map over a clip says of its frames and of its tubes, and which frames have truth (clauses 5.14.5 to 5.14.7)."""

from __future__ import annotations

from torch import Tensor

from vxp.core import Case, Held
from vxp.metrics._regions import falling
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


def by_frame(case: Case) -> Held:
    """The order in which frames go, by q_t."""
    H, W = case.batch.space[1:]
    return case.grouped("frames", lambda: falling(frame_relevance(case)).repeat_interleave(H * W, dim=1))


def by_tube(case: Case) -> Held:
    """The order in which tubes go, by the sum of the map over the frames."""
    return case.grouped("tubes", lambda: falling(tube_relevance(case)).repeat(1, case.batch.space[0]))


def tube_relevance(case: Case) -> Tensor:
    """float64 [B, H*W]: the sum of the map over the frames at every (y, x)."""
    return case.map.double().sum(1).flatten(1)
