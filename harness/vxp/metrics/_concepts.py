"""Scores of concepts beside what the concepts cause: cells of concept and class, and the facts that their metrics share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vxp.core import Case, Outcome, Rendered, Request, VxpError, outcome
from vxp.core.case import Plan
from vxp.core.declarations import Truth
from vxp.kinds import KindId

KINDS: tuple[KindId, ...] = ("concepts",)
TRUTH: tuple[Truth, ...] = ("factors",)
SOURCE = "VXP; the effect is that of Goyal, Feder, Shalit and Kim 2019, arXiv:1907.07165"
FACTS = 4
"""Columns of the statistics before the scores: target, number of concepts, tau and tau0."""
CAVEATS = (
    "Needs items that can be re-rendered with every concept off and on: it says what an explainer does on such data, and on "
    "photographs it may do otherwise.",
    "The effect is a mean over all items of the set. A concept that matters for the images of one class only, such as the size "
    "of the shape that is there, can have none in the mean.",
    "It reads an effect of both settings of a concept, whatever the item is like: not whether the item has it.",
)


@dataclass(frozen=True, eq=False)
class Cells:
    """Of R resamples of the items the cells of C classes and K concepts: the mean score of the class's items, the share of them
    whose score is not 0, the effect [R, C, K], and whether an item of the class is there [R, C, 1]."""

    scores: Tensor
    called: Tensor
    effects: Tensor
    there: Tensor
    tau: float
    tau0: float

    @property
    def relevant(self) -> Tensor:
        """bool [R, C, K]: cells whose effect is beyond tau."""
        return (self.effects.abs() > self.tau) & self.there

    @property
    def irrelevant(self) -> Tensor:
        """bool [R, C, K]: cells whose effect is below tau0."""
        return (self.effects.abs() < self.tau0) & self.there


def cells(statistics: Tensor, counts: Tensor) -> Cells:
    """The cells of statistics [N, 4 + K + K*C] (`statistics_of`), each item as often as its count says, [R, N]."""
    values = statistics.double()
    K = int(values[0, 1])
    scores, effects = values[:, FACTS : FACTS + K], values[:, FACTS + K :]
    C = effects.shape[1] // K
    of = torch.nn.functional.one_hot(values[:, 0].long(), C).double()
    items = counts @ of
    there = items[..., None] > 0

    def mean(numbers: Tensor) -> Tensor:
        sums = torch.einsum("rn,nc,nk->rck", counts, of, numbers)
        return sums / torch.where(there, items[..., None], torch.ones_like(items[..., None]))

    caused = (counts @ effects / counts.sum(1, keepdim=True)).unflatten(1, (K, C)).transpose(1, 2)
    return Cells(mean(scores), mean((scores != 0).double()), caused, there, float(values[0, 2]), float(values[0, 3]))


def by_resample(number: Callable[[Cells, int], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The reduction [R] that takes this number of the cells of every resample."""

    def reduce(statistics: Tensor, clusters: Tensor, counts: Tensor) -> Tensor:
        found = cells(statistics, counts)
        return torch.stack([number(found, r) for r in range(len(counts))])

    return reduce


def plan(case: Case, metric: str, tau: float, tau0: float) -> Plan:
    """Keep of every item its target, its scores and what each concept causes of it in the centred logit of every class."""
    K = case.native.shape[1]
    factors = case.batch.truth.get("factors")
    if factors is None or factors.shape[1:3] != (K, 2):
        got = "none" if factors is None else str(list(factors.shape))
        raise VxpError(f"metric {metric!r} needs the truth factors [B, {K}, 2, C, H, W], every concept off and on, and got "
                       f"{got}: pass truth=, or leave the metric out")
    logits = yield Request(tuple(Rendered("factors", row) for row in range(2 * K)), readout="output")
    return kept(case, logits.double().cpu(), tau, tau0)


def kept(case: Case, logits: Tensor, tau: float, tau0: float) -> Outcome:
    """The outcome of logits [B, 2*K, C] of the items' rows; it has no number of an item."""
    B, K = case.native.shape
    centred = logits - logits.mean(-1, keepdim=True)
    effects = centred[:, 1::2] - centred[:, ::2]
    facts = torch.tensor([float(K), tau, tau0], dtype=torch.float64).expand(B, 3)
    targets = case.batch.targets.cpu().double()[:, None]
    statistics = torch.cat([targets, facts, case.clean.cpu().double(), effects.flatten(1)], 1)
    alone = torch.full((B,), logits.shape[-1] < 2)
    return outcome(torch.full((B,), float("nan"), dtype=torch.float64), {"single-class": alone}, statistics=statistics)


__all__ = ["CAVEATS", "KINDS", "SOURCE", "TRUTH", "Cells", "by_resample", "cells", "plan"]
