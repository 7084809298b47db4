"""Rules of concepts: what they say of items, and how long they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final

import torch
from torch import Tensor

from vxp.core import Case, VxpError
from vxp.documents.rules import Rule
from vxp.kinds import rule_of

PRESENT: Final = "present"
"""The truth: which concepts an item has, in the order of the task."""
MOST = 10
"""Concepts of a task, so that what a rule says of all combinations of them can be kept."""
OWN = 2
"""Numbers that stand before what a rule says: which combination its own item has, and what is predicted for that."""


def rules(case: Case) -> list[Rule]:
    """The stored rules."""
    return [rule_of(row) for row in case.native]


def concepts(case: Case) -> tuple[str, ...]:
    """The names of the concepts of the truth `present`; VxpError where they have none, or are too many."""
    names, K = case.batch.concepts, case.batch.truth[PRESENT].shape[1]
    if len(names) != K or K > MOST:
        raise VxpError(f"the truth 'present' is of {K} concepts, and {len(names)} have names: expected a name for each of at "
                       f"most {MOST}, which the task's card lists as its concepts")
    return names


def said(rule: Rule, names: Sequence[str]) -> list[int]:
    """What a rule says of every combination of concepts, the first concept in the last digit: the class; where it says
    nothing, -1 less the class that it says elsewhere."""
    found = []
    for values in product((False, True), repeat=len(names)):
        fires = rule.fires(dict(zip(names, reversed(values), strict=True)))
        silent = -1 - rule.says
        found.append(rule.says if fires else silent if rule.otherwise is None else rule.otherwise)
    return found


def agreement(statistics: Tensor, clusters: Tensor, counts: Tensor) -> Tensor:
    """Per set [R]: the share of pairs of items of different clusters of which the rule of the one is right on the other; NaN
    without such a pair.

    statistics [N, OWN + 2^K]: the number of the combination of concepts that an item has, the class that is predicted for it,
    and what its rule says of all combinations.
    """
    has, predicted, table = statistics[:, 0].long(), statistics[:, 1].long(), statistics[:, OWN:].long()
    told = table[:, has]  # of every rule in rows what it says of every item
    right = torch.where(told < 0, predicted[None] != -1 - told, predicted[None] == told)
    apart = (clusters[:, None] != clusters[None]).double()
    pairs = ((counts @ apart) * counts).sum(1)
    return ((counts @ (right.double() * apart)) * counts).sum(1) / torch.where(pairs > 0, pairs, torch.nan)


__all__ = ["OWN", "PRESENT", "agreement", "concepts", "rules", "said"]
