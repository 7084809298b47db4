"""A score for every step of a sequence, such as the frames of a video: no class, and so no target (clause [sequence])."""

from __future__ import annotations

import torch
from torch import Tensor

from vxp import clock
from vxp.core import VxpError
from vxp.outputs._types import Output


def _checked(raw: object, inputs: Tensor) -> Tensor:
    """The scores [N, n] as they are, of [N, n, 1] without the last axis; VxpError for another type or shape."""
    n = inputs.shape[2]
    if not isinstance(raw, Tensor):
        raise VxpError(f"the model returned a {type(raw).__name__}, expected a tensor of scores [B, n], one per step: wrap it "
                       "in a module that returns the scores alone")
    scores = raw[..., 0] if raw.ndim == 3 and raw.shape[2] == 1 else raw
    if tuple(scores.shape) != (len(inputs), n):
        raise VxpError(f"the model returned a tensor {tuple(raw.shape)} for {len(inputs)} inputs of {n} steps, expected scores "
                       f"[{len(inputs)}, {n}]: one number per step")
    return scores


@clock.stage("readout")
def _read(scores: Tensor, targets: Tensor) -> Tensor:
    """The mean score [N, 1], float64; NaN where a score is not finite."""
    precise = scores.double()
    return precise.mean(1, keepdim=True).masked_fill(~torch.isfinite(precise).all(1, keepdim=True), float("nan"))


def _predicted(scores: Tensor) -> Tensor:
    """-1: nothing is predicted that could be explained."""
    return torch.full((len(scores),), -1, dtype=torch.int64, device=scores.device)


def _doubts(scores: Tensor, what: str) -> list[str]:
    still = scores.amax(1) == scores.amin(1)
    if not bool(still.all()):
        return []
    return [f"the scores of {what} are equal for all steps of every one of {len(scores)} videos, so nothing orders the steps: "
            "check its weights and its features"]


SEQUENCE = Output("sequence", ("mean-score",), "mean-score", False, _checked, _read, _predicted, _doubts)

__all__ = ["SEQUENCE"]
