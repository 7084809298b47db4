"""Top-k intersection: the share of the k most relevant positions that lie inside the truth."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.kinds import MAPS
from vxp.metrics._truth import truth


@metric("top-k-intersection", family="localisation", better="higher", range=(0, 1), kinds=MAPS, truth=("mask", "cells"),
        undefined=("constant-map", "empty-truth"), source="Theiner, Mueller-Budack and Ewerth 2021, arXiv:2104.14995",
        limits={"k": (1, 224 * 224)},
        caveats=("A truth smaller than k cannot reach 1.", "Looks at the top of the map only."))
def top_k_intersection(case: Case, *, k: int = 1000) -> Outcome:
    """Share of the K most relevant positions that lie inside the truth (Theiner et al. 2021).

    K = max(1, floor(k*P/50176)), so `k` counts positions at 224x224. Range [0, 1], higher is better; a random order
    scores the truth's share of the image in expectation. Undefined for a constant map and an empty truth.
    """
    inside = truth(case, ("mask", "cells"), "top-k-intersection")
    K = max(1, k * case.batch.positions // (224 * 224))
    share = inside.gather(1, case.order[:, :K]).double().mean(1)
    return outcome(share, {"constant-map": case.constant, "empty-truth": ~inside.any(1)})
