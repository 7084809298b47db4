"""Prototype consistency: whether a prototype is found on the same part of all images of its class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vxp.core import Case, Outcome, metric, outcome

PART = "part"
CONSISTENT = 0.8
"""The corrected rate of hits from which on a prototype is consistent, mu of the source."""
ROUNDING = 1e-9
FACTS = 2
"""Columns of the statistics before the rates: target and number of parts."""


def consistency(statistics: Tensor, clusters: Tensor, counts: Tensor) -> Tensor:
    """The share of consistent prototypes float64 [R], of statistics [N, 2 + K + P*(1 + K)] and how often each item counts,
    [R, N]; NaN where no prototype speaks for a class."""
    values = statistics.double()
    K = int(values[0, 1])
    target, rates = values[:, 0].long(), values[:, FACTS : FACTS + K]
    planes = values[:, FACTS + K :].unflatten(1, (-1, 1 + K))
    found = torch.zeros(2, len(counts), dtype=torch.float64)
    for c in target.unique().tolist():
        own = target == c
        weights = counts[:, own].double()
        items = weights.sum(1).clamp_min(1)
        there = torch.einsum("rn,np->rp", weights, planes[own, :, 0]) > 0
        hits = torch.einsum("rn,npk->rpk", weights, planes[own, :, 1:]) / items.view(-1, 1, 1)
        chance = (weights @ rates[own] / items[:, None])[:, None]
        free = chance < 1 - ROUNDING
        corrected = torch.where(free, (hits - chance) / torch.where(free, 1 - chance, torch.ones_like(chance)), 0.0)
        consistent = there & (corrected.amax(2) >= CONSISTENT - ROUNDING)
        found += torch.stack([consistent.sum(1), there.sum(1)]).double()
    return torch.where(found[1] > 0, found[0] / found[1].clamp_min(1), torch.nan)


@metric("prototype-consistency", family="prototypes", better="higher", range=(0, 1), kinds=("prototypes",),
        undefined=("no-positive-mass",), reduce=consistency, limits={"window": (1, None)},
        source="Huang et al. 2023, arXiv:2212.05946, section 3.2: consistency score, less what a random window hits",
        caveats=("It reads where a prototype is found and never asks the model: a map that always points at one part is "
                 "consistent, whether or not the model uses the part. Read it beside what the prototypes add to the logit.",
                 "The parts are those of the task. A prototype of what two parts have in common, or of the ground, is not "
                 "consistent.",
                 "A class of few items has coarse rates: of five items 0.8 is four of them."))
def prototype_consistency(case: Case, *, window: int = 9) -> Outcome:
    """The share of prototypes that are found on one part of the images of their class: in at least 0.8 of them, corrected for
    chance.

    A prototype belongs to the classes for which it speaks: where its largest contribution to the target is positive. It is
    found at the cell of that contribution, and hits the parts of which a position lies in the square of `window` positions a
    side around the middle of the cell. Of a prototype, a class and a part a is the share of the class's items in which the
    part is hit, and r the mean over these items of the share of all cells whose window hits it; the corrected rate is (a -
    r)/(1 - r), 0 where r is 1. So a larger window alone helps nobody. Range [0, 1], higher is better. An item for which no
    prototype speaks is undefined. statistics float64 [B, 2 + K + P*(1 + K)]: target, K, rates of windows, and per prototype
    whether it speaks and its hits.
    """
    hit = _hit(case, window)
    planes, K = case.clean.flatten(2), hit.shape[1]
    best, at = planes.max(2)
    speaks = best > 0
    hits = hit.gather(2, at[:, None].expand(-1, K, -1)).transpose(1, 2) & speaks[..., None]
    each = torch.cat([speaks[..., None], hits], 2).double().flatten(1)
    facts = torch.stack([case.batch.targets.double(), torch.full_like(case.batch.targets, K).double()], 1)
    statistics = torch.cat([facts, hit.double().mean(2), each], 1)
    spoken = speaks.sum(1)
    # one item says how many of the prototypes that speak for it hit a part
    alone = hits.any(2).sum(1).double() / spoken.clamp_min(1)
    return outcome(alone, {"no-positive-mass": spoken == 0}, statistics=statistics)


def _hit(case: Case, window: int) -> Tensor:
    """bool [B, K, cells]: whether the window around the middle of every cell has a position of the part."""
    batch, (H, W), (h, w) = case.batch, case.batch.space, case.clean.shape[2:]
    of = batch.parts_of(PART).view(len(batch), H, W)
    parts = torch.stack([of == k for k in range(batch.count_of(PART))], 1).float()
    low = (window - 1) // 2
    # beyond the border there is no part
    around = F.max_pool2d(F.pad(parts, (low, window - 1 - low, low, window - 1 - low)), window, 1) > 0
    rows, columns = ((2 * torch.arange(n, device=of.device) + 1) * N // (2 * n) for n, N in ((h, H), (w, W)))
    return around[:, :, rows][..., columns].flatten(2)
