"""Relevance rank accuracy: how many of the top positions lie inside the truth."""


from vxp.core import Case, Outcome, metric, outcome
from vxp.kinds import MAPS
from vxp.metrics._truth import truth


@metric("relevance-rank", family="localisation", better="higher", range=(0, 1), kinds=MAPS, truth=("mask", "cells"),
        undefined=("constant-map", "empty-truth"), source="Arras, Osman and Samek 2022, arXiv:2003.07258",
        caveats=("Assumes that the model uses the whole object and nothing else.",))
def relevance_rank(case: Case) -> Outcome:
    """Share of the K most relevant positions that lie inside the truth, K its size (Arras et al. 2022, eq. 2).

    Range [0, 1], higher is better; a random order scores the truth's share of the image in expectation. Undefined for
    a constant map and an empty truth.
    """
    inside = truth(case, ("mask", "cells"), "relevance-rank")
    size = inside.sum(1)
    ranked = inside.gather(1, case.order).cumsum(1)
    within = ranked.gather(1, (size - 1).clamp_min(0)[:, None]).flatten()
    return outcome(within.double() / size.clamp_min(1), {"constant-map": case.constant, "empty-truth": size == 0})
