"""Mask AUC: how well the map's values tell truth from ground."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.kinds import MAPS
from vxp.metrics._auc import auc
from vxp.metrics._truth import truth


@metric("mask-auc", family="localisation", better="higher", range=(0, 1), kinds=MAPS, truth=("mask", "cells"),
        undefined=("constant-map", "empty-truth", "full-truth"), source="Mann and Whitney 1947, doi:10.1214/aoms/1177730491",
        caveats=("A large easy ground raises it: small objects are best read with mask-average-precision.",
                 "Assumes that the model uses the whole object and nothing else."))
def mask_auc(case: Case) -> Outcome:
    """Probability that a random position of the truth has a higher value than one outside; ties count one half.

    The Mann-Whitney statistic of the signed evaluation map, which is the area under the ROC curve. Range [0, 1], higher
    is better, 0.5 for a random map. Undefined for a constant map, an empty truth, and a truth that covers everything.
    """
    inside = truth(case, ("mask", "cells"), "mask-auc")
    return outcome(auc(case.map.flatten(1), inside, case.order.flip(1)), {
        "constant-map": case.constant, "empty-truth": ~inside.any(1), "full-truth": inside.all(1)})
