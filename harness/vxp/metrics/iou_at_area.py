"""IoU at area: intersection over union of the truth and the most relevant positions of a stated area."""

import torch

from vxp.core import Case, Outcome, metric, outcome
from vxp.kinds import MAPS
from vxp.metrics._truth import truth


@metric("iou-at-area", family="localisation", better="higher", range=(0, 1), kinds=MAPS, truth=("mask", "cells"),
        undefined=("constant-map", "empty-truth"), limits={"area": ("truth", "5", "10", "20", "30", "50")},
        source="Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x",
        caveats=("Assumes that the model uses the whole object and nothing else.",
                 "With a fixed area an object of another size cannot reach 1."))
def iou_at_area(case: Case, *, area: str = "truth") -> Outcome:
    """Intersection over union of the truth and the K most relevant positions (Jaccard 1912).

    area `truth`: K is the truth's size; a number of percent a: K = max(1, floor(a*P/100)). Range [0, 1], higher is
    better. With the truth's own area it orders maps as relevance-rank does. Undefined for a constant map and an empty
    truth.
    """
    inside = truth(case, ("mask", "cells"), "iou-at-area")
    size = inside.sum(1)
    K = size if area == "truth" else torch.full_like(size, max(1, int(area) * case.batch.positions // 100))
    within = inside.gather(1, case.order).cumsum(1).gather(1, (K - 1).clamp_min(0)[:, None]).flatten()
    union = (size + K - within).clamp_min(1)
    return outcome(within.double() / union, {"constant-map": case.constant, "empty-truth": size == 0})
