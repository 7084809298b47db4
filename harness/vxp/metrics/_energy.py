"""The share of positive mass inside a truth, which two metrics read with different truths."""

from collections.abc import Sequence

import torch

from vxp.core import Case, Outcome, outcome
from vxp.metrics._truth import truth


def energy_inside(case: Case, keys: Sequence[str], metric: str) -> Outcome:
    """sum of the positive part inside the truth / sum of the positive part, float64 [B]."""
    inside = truth(case, keys, metric)
    positive = case.map.flatten(1).double().clamp_min(0)
    total = positive.sum(1)
    empty = total == 0
    share = (positive * inside).sum(1) / torch.where(empty, torch.ones_like(total), total)
    # rounding of two sums over the same positions can pass 1 in the last digit
    return outcome(share.clamp(0, 1), {"empty-truth": ~inside.any(1), "no-positive-mass": empty})
