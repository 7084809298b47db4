"""MaxBoxAccV2: how often a box around what a thresholded map leaves meets the object's box, at the best threshold."""

from __future__ import annotations

from math import isqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vxp.core import Case, Outcome, VxpError, metric, outcome
from vxp.core.perturb import minmax

DELTAS = (0.3, 0.5, 0.7)
"""Overlaps from which a box counts as right."""
AROUND = np.ones((3, 3), dtype=int)
"""Neighbours of a position: all eight."""

FEW = 32
"""Up to so many regions it costs less to box them all than to leave the small ones out."""

Boxes = NDArray[np.int64]


def best_threshold(statistics: Tensor, clusters: Tensor, counts: Tensor) -> Tensor:
    """Per set [R]: the share of right items [N, 3*thresholds], at the best threshold per overlap, mean over overlaps."""
    right = (counts @ statistics.double() / counts.sum(1, keepdim=True)).view(len(counts), len(DELTAS), -1)
    return right.amax(2).mean(1)


@metric("max-box-acc-v2", family="localisation", better="higher", range=(0, 1), truth=("boxes", "mask"),
        undefined=("constant-map", "empty-truth"), reduce=best_threshold, source="Choe et al. 2020, arXiv:2001.07437",
        limits={"thresholds": (1, 1000)},
        caveats=("The threshold is chosen on the items that are scored: it says what could be reached, not what a user gets.",
                 "A box around a region says little of its shape; objects that are not boxes are judged by their outline.",
                 "Assumes that the model uses the whole object and nothing else."))
def max_box_acc_v2(case: Case, *, thresholds: int = 1000) -> Outcome:
    """Share of items of which a box has enough overlap with a truth's box, at the best threshold (Choe et al. 2020).

    The map is min-maxed; at threshold i/thresholds, i = 0, 1, ..., the boxes are those around the 8-connected regions
    of values above it. An item is right at (threshold, delta) if some box has an intersection over union of at least
    delta with some truth's box; per delta of .3, .5 and .7 the best threshold of the set counts, and the number of the
    set is the mean over the three. Of a mask the boxes are those around its 8-connected regions. Range [0, 1], higher
    is better. The value of an item is the same for itself alone. Undefined for a constant map and an empty truth.
    statistics uint8 [B, 3*thresholds]: right or not, the thresholds of one delta after those of another.

    The authors' code rounds the map down to 256 levels, so that some of its thresholds are one, also takes the boxes
    around holes, and counts a box's far edge as a pixel of it; here the map keeps its values, a region is what is above,
    and boxes are half-open.
    """
    truths = [_truth_boxes(case, i) for i in range(len(case.batch))]
    empty = torch.tensor([len(boxes) == 0 for boxes in truths])
    # float64, so that a threshold is not rounded to the map's precision before it is compared
    scaled = minmax(case.map)
    maps = scaled.double().nan_to_num().cpu().numpy()
    overlap = np.stack([_overlaps(one, boxes, thresholds) for one, boxes in zip(maps, truths, strict=True)])
    right = torch.from_numpy(np.stack([overlap >= delta for delta in DELTAS], axis=1))
    return outcome(right.any(2).double().mean(1), {"constant-map": case.constant, "empty-truth": empty},
                   statistics=right.flatten(1).to(torch.uint8), failed=scaled.isnan().flatten(1).any(1))


def _truth_boxes(case: Case, i: int) -> Boxes:
    """Boxes [N, 4] of item i as y0, y1, x0, x1, half-open."""
    truth = case.batch.truth
    if "boxes" in truth:
        x0, y0, x1, y1 = truth["boxes"][i].cpu().numpy().astype(np.int64).T
        H, W = case.batch.space
        boxes = np.stack([y0.clip(0, H), y1.clip(0, H), x0.clip(0, W), x1.clip(0, W)], axis=1)
        return boxes[(boxes[:, 1] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 2])]
    if "mask" in truth:
        return _around(truth["mask"][i].cpu().numpy().astype(bool))
    raise VxpError(f"metric 'max-box-acc-v2' needs the truth boxes or mask, and these items have {', '.join(truth) or 'none'}: "
                   "pass truth=, or leave the metric out")


def _around(inside: NDArray[np.bool_], least: int = 1) -> Boxes:
    """The boxes around the 8-connected regions; where there are many, around those of at least so many positions."""
    from scipy.ndimage import find_objects, label  # not above: every command would wait for it

    regions, n = label(inside, AROUND)
    if n > FEW and least > 1:
        large = np.bincount(regions.ravel(), minlength=n + 1) >= least
        large[0] = False
        regions = np.where(large, large.cumsum(), 0)[regions]
    found = find_objects(regions)
    return np.array([[y.start, y.stop, x.start, x.stop] for y, x in found], dtype=np.int64).reshape(-1, 4)


def _overlaps(values: NDArray[np.float64], truths: Boxes, thresholds: int) -> NDArray[np.float64]:
    """The largest intersection over union of any box with any truth's box, per threshold [thresholds]; 0 may stand for
    what is below the least delta."""
    best = np.zeros(thresholds)
    if not len(truths):
        return best
    # a region of n positions has a box of at most n x n, and noise has thousands of regions too small to be right
    least = isqrt(int(DELTAS[0] * int(_area(truths).min())))
    at = np.arange(thresholds) / thresholds
    # thresholds between the same two values leave the same region: it is cut once
    above = values.size - np.searchsorted(np.sort(values, axis=None), at, side="right")
    for i, threshold in enumerate(at):
        if i and above[i] == above[i - 1]:
            best[i] = best[i - 1]
            continue
        boxes = _around(values > threshold, least)
        if not len(boxes):  # what is left higher up lies inside of what is left here
            break
        best[i] = _iou(boxes, truths)
    return best


def _iou(boxes: Boxes, truths: Boxes) -> float:
    """Largest intersection over union of any of boxes [N, 4] with any of truths [M, 4]; 0 for no boxes."""
    a, b = boxes[:, None], truths[None]
    height = (np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])).clip(0)
    width = (np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 2], b[..., 2])).clip(0)
    both = height * width
    return float((both / (_area(a) + _area(b) - both)).max(initial=0.0))


def _area(boxes: Boxes) -> Boxes:
    return np.asarray((boxes[..., 1] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 2]))
