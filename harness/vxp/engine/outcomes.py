"""Outcomes without numbers: which items have a status in place of a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vxp.core import Case, Outcome, Predict, Request
from vxp.engine.readouts import VECTORS


def failed(n: int, code: str, kind: str = "failed") -> Outcome:
    """An outcome without numbers: the same status for every item."""
    return without_numbers([f"{kind}:{code}"] * n)


def without_numbers(status: Sequence[str]) -> Outcome:
    """An outcome of which every item has a status other than `ok`."""
    return Outcome(torch.full((len(status),), float("nan"), dtype=torch.float64), tuple(status))


def with_statuses(found: Outcome, status: Mapping[int, str]) -> Outcome:
    """The outcome with these statuses, and no numbers, for these items."""
    if not status:
        return found
    values = found.values.clone()
    values[list(status)] = float("nan")
    return replace(found, values=values, status=tuple(status.get(i, s) for i, s in enumerate(found.status)))


def finite_only(found: Outcome, case: Case) -> Outcome:
    """`undefined:non-finite-map` for the items whose stored map is not finite, the others as they are."""
    infinite = [i for i in torch.nonzero(~case.finite).flatten().tolist() if not found.status[i].startswith("not-run:")]
    return with_statuses(found, dict.fromkeys(infinite, "undefined:non-finite-map"))


def broken(request: Request, answer: Tensor) -> set[int]:
    """The items of which the model gave a number that is not finite."""
    if not isinstance(request.call, Predict):
        return set()
    # the complement of the only class of a model has the logarithm -inf
    wrong = ~torch.isfinite(answer) if request.readout in VECTORS else torch.isnan(answer)
    return set(torch.nonzero(wrong.flatten(1).any(1)).flatten().tolist()) if wrong.any() else set()


__all__ = ["broken", "failed", "finite_only", "with_statuses", "without_numbers"]
