"""Signs of concepts: whether the score of a concept that matters says in which direction."""

from torch import Tensor

from vxp.core import Case, Plan, metric
from vxp.metrics._concepts import CAVEATS, KINDS, SOURCE, TRUTH, Cells, by_resample, plan


def agreeing(found: Cells, r: int) -> Tensor:
    """The share of relevant cells of a resample whose score has the sign of the effect; NaN without any."""
    right = found.scores[r].sign() == found.effects[r].sign()
    return right[found.relevant[r]].double().mean()


@metric("concept-sign", family="concepts", better="higher", range=(0, 1), kinds=KINDS, truth=TRUTH,
        undefined=("single-class",), reduce=by_resample(agreeing), source=SOURCE, limits={"tau": (0, None)},
        caveats=(*CAVEATS, "A score of 0 has no sign and counts as wrong: an explainer that dares to say nothing scores 0.",
                 "An explainer that gives every concept the more frequent sign does better than one half."))
def concept_sign(case: Case, *, tau: float = 1.0) -> Plan:
    """Share of the cells of concept and class whose effect is beyond tau of which the mean score has the sign of the effect.

    Cells, scores and effects are those of concept-relevance-auc. Range [0, 1], higher is better. Undefined for a model of one
    class.
    """
    return (yield from plan(case, "concept-sign", tau, 0.0))
