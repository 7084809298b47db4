"""A score for every step of a sequence, such as the frames of a video: no class, and so no target (clause [sequence])."""

from __future__ import annotations

import torch
from torch import Tensor

from vxp import clock
from vxp.outputs._types import Output, PerStep


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


SEQUENCE = Output("sequence", ("mean-score",), "mean-score", False, PerStep("scores", "step", "n", "inputs").checked, _read,
                  _predicted, _doubts)

__all__ = ["SEQUENCE"]
