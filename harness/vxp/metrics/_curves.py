"""Areas under the target's probability while positions, or groups of them, are removed in the order of the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vxp.core import Case, Held, Plan, outcome
from vxp.core.perturb import trapezoid
from vxp.media import CLIP

CLIP_FILLS = tuple(CLIP.fills)
"""The fills of clips."""
VOXEL_FILLS = tuple(fill for fill in CLIP_FILLS if fill not in ("reverse", "remove"))
"""Those that say something at a single position: a clip run backwards, and one without some frames, are for whole frames."""


def deletion_area(
    case: Case, counts: Sequence[int], fill: str, undefined: Mapping[str, Tensor], *, order: Held | None = None
) -> Plan:
    """Area while the k most relevant positions (or groups of an order) carry the fill, over k/counts[-1] for k of counts."""
    curve = yield case.removed(counts, fill, order=order)
    return outcome(trapezoid(curve, counts), undefined, curve=curve, x=_shares(counts))


def insertion_area(
    case: Case, counts: Sequence[int], fill: str, undefined: Mapping[str, Tensor], *, order: Held | None = None
) -> Plan:
    """Area while the k most relevant show the item and all others the fill: rows of least-relevant-first removal into the same
    fill, read backwards."""
    hidden = [counts[-1] - k for k in counts]
    curve = yield case.removed(hidden, fill, first="least", order=order)
    return outcome(trapezoid(curve, counts), undefined, curve=curve, x=_shares(counts))


def relevance_gain(case: Case, counts: Sequence[int], fill: str) -> Plan:
    """Area while positions go in rising order of relevance, less that while they go in falling order."""
    most = yield case.removed(counts, fill)
    least = yield case.removed([counts[-1] - k for k in counts], fill, first="least")
    return outcome(trapezoid(least, counts) - trapezoid(most, counts), {"constant-map": case.constant})


def own_area(curve: Tensor, last: Tensor) -> Tensor:
    """Area [B] under curve [B, S+1] from step 0 to each item's own last step [B], over the fraction of its steps."""
    step = torch.arange(curve.shape[1])
    last = last[:, None]
    weight = (step <= last).double() - ((step == 0) | (step == last)).double() / 2
    return (curve * weight).sum(1) / last[:, 0]


def _shares(counts: Sequence[int]) -> list[float]:
    return [k / counts[-1] for k in counts]
