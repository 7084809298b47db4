"""Mask average precision: how early the truth comes in the map's order."""

import torch

from vxp.core import Case, Outcome, metric, outcome
from vxp.kinds import MAPS
from vxp.metrics._truth import truth


@metric("mask-average-precision", family="localisation", better="higher", range=(0, 1), kinds=MAPS, truth=("mask", "cells"),
        undefined=("constant-map", "empty-truth"),
        source="Manning, Raghavan and Schuetze 2008, Introduction to Information Retrieval, section 8.4",
        caveats=("Its floor is the truth's share of the image: compare on the same items only.",
                 "Assumes that the model uses the whole object and nothing else."))
def mask_average_precision(case: Case) -> Outcome:
    """Mean over the truth's positions of the precision at their rank, without interpolation.

    Positions are ranked by the signed evaluation map, ties by row-major index (clause [order]). Range (0, 1], higher is better.
    Undefined for a constant map and an empty truth.
    """
    inside = truth(case, ("mask", "cells"), "mask-average-precision")
    member = inside.gather(1, case.order)
    rank = torch.arange(1, member.shape[1] + 1, device=member.device, dtype=torch.float64)
    precision = member.cumsum(1) / rank
    score = (precision * member).sum(1) / inside.sum(1).clamp_min(1)
    return outcome(score, {"constant-map": case.constant, "empty-truth": ~inside.any(1)})
