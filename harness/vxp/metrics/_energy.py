"""The share of positive mass inside a truth, of positions and of frames."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vxp.core import Case, Outcome, outcome
from vxp.metrics._truth import truth


def energy_inside(case: Case, keys: Sequence[str], metric: str) -> Outcome:
    """sum of the positive part inside the truth / sum of the positive part, float64 [B]."""
    inside = truth(case, keys, metric)
    share, empty = share_inside(case.map.flatten(1).double().clamp_min(0), inside)
    return outcome(share, {"empty-truth": ~inside.any(1), "no-positive-mass": empty})


def share_inside(mass: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """The share [B] of the mass [B, N], at least 0, that lies inside, and where there is no mass at all."""
    total = mass.sum(1)
    empty = total == 0
    share = (mass * inside).sum(1) / torch.where(empty, torch.ones_like(total), total)
    # rounding of two sums over the same values can pass 1 in the last digit
    return share.clamp(0, 1), empty
