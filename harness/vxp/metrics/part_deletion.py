"""Part deletion: whether the parts of an image are ranked by what the target loses without each."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vxp.core import Batch, Case, Edit, Piece, Plan, Rendered, Request, Unchanged, VxpError, Without, metric, outcome
from vxp.core.case import sums_of_labels
from vxp.metrics._correlation import spearman
from vxp.metrics._fragments import ALIKE, STILL
from vxp.metrics._time import alike

FEW = "too-few-regions"
LEAST = 3
"""Parts without which a rank correlation says next to nothing: of two it is 1 or -1."""
ROUNDING = 1e-6
"""A drop of at most this share of the output on the item, or of 1, is none."""
RENDERED, PART, WITHOUT = "rendered", "part", "without"
Removal = Literal["rendered", "black", "mean", "blur"]
Pool = Literal["mean", "sum"]
Says = Literal["logit", "probability"]


@metric("part-deletion", family="faithfulness", better="higher", range=(-1, 1), undefined=(FEW, ALIKE, STILL),
        source="Hesse, Schaub-Meyer and Roth 2023, arXiv:2308.06248, section 4: single deletion",
        limits={"removal": (RENDERED, "black", "mean", "blur"), "readout": ("logit", "probability"), "pool": ("mean", "sum")},
        caveats=("The parts are those of the task, whatever drew them: what an explanation says of smaller or larger pieces is "
                 "not seen.",
                 "Each part goes alone: of two that stand in for each other neither is missed.",
                 "Of five parts one item says little: its score is one of few values. Read the mean over many items.",
                 "Under a fill the hole is an image that no model was trained on, and what the model loses may be due to "
                 "that; `removal:rendered` has no holes."), shows_inversion=True)
def part_deletion(case: Case, *, removal: Removal = "rendered", readout: Says = "logit", pool: Pool = "mean") -> Plan:
    """Spearman's correlation over the parts of an image between their scores and what the target loses without each.

    The score of a part is the mean of the evaluation map over its positions (`pool:mean`), which of regions that are the
    parts is the score of the region, or the sum (`pool:sum`). A part is taken out exactly, by the rendering of the item without
    it (truth `without`), or its positions show a fill. The loss is of the target's logit or probability. Range [-1, 1], higher
    is better, 0 on average for random scores. Undefined with fewer than three parts, where all parts have one score, and where
    the target loses the same without each.
    """
    K = case.batch.count_of(PART)
    edits: list[Edit] = [Unchanged(), *_removals(case.batch, removal, K)]
    found = yield Request(tuple(edits), readout=readout)
    lost = _losses(found.double())
    scores = case.weights(PART) if pool == "mean" else sums_of_labels(case.map.flatten(1), case.batch.parts_of(PART))
    scores = scores.to(lost.device)
    value, still = spearman(scores, lost)
    few = torch.full_like(still, K < LEAST)
    return outcome(value.masked_fill(still, torch.nan), {FEW: few, ALIKE: alike(scores), STILL: alike(lost)},
                   failed=~torch.isfinite(lost).all(1))


def _removals(batch: Batch, removal: Removal, K: int) -> list[Edit]:
    """The item without each part. VxpError where renderings are asked for and there are none, or not one for each part."""
    if removal != RENDERED:
        return [Without(Piece(PART, k), removal) for k in range(K)]
    if WITHOUT not in batch.truth:
        raise VxpError("metric 'part-deletion' takes parts out by renderings without them, the truth 'without', and these "
                       "items have none: ask for part-deletion|removal:mean, or take a task that has it")
    if batch.truth[WITHOUT].shape[1] != K:
        raise VxpError(f"metric 'part-deletion': the items have {K} parts and are rendered without each of "
                       f"{batch.truth[WITHOUT].shape[1]}, expected the same number in the same order")
    return [Rendered(WITHOUT, k) for k in range(K)]


def _losses(found: Tensor) -> Tensor:
    """What is lost without each part, float64 [B, K], of the output on the item and on each row, [B, 1 + K]."""
    lost = found[:, :1] - found[:, 1:]
    return lost.masked_fill(lost.abs() <= ROUNDING * found[:, :1].abs().clamp_min(1), 0.0)
