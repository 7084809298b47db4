"""False positives of concepts: how often a concept that does not matter is called important."""

from torch import Tensor

from vxp.core import Case, Plan, metric
from vxp.metrics._concepts import CAVEATS, KINDS, SOURCE, TRUTH, Cells, by_resample, plan


def called(found: Cells, r: int) -> Tensor:
    """The mean over the irrelevant cells of a resample of the share of items that call it important; NaN without any."""
    return found.called[r][found.irrelevant[r]].mean()


@metric("concept-false-positive", family="concepts", better="lower", range=(0, 1), kinds=KINDS, truth=TRUTH,
        undefined=("single-class",), reduce=by_resample(called), source=SOURCE, limits={"tau0": (0, None)},
        caveats=(*CAVEATS, "An explainer that tests nothing calls every concept important and scores 1; one that says nothing "
                           "scores 0. Read it beside concept-relevance-auc, never alone."))
def concept_false_positive(case: Case, *, tau0: float = 0.25) -> Plan:
    """Mean over the cells of concept and class whose effect is below tau0 of the share of the class's items whose score is not
    zero.

    An explainer that tests whether a concept matters writes 0 where it does not. Cells and effects are those of
    concept-relevance-auc. Range [0, 1], lower is better. Undefined for a model of one class.
    """
    return (yield from plan(case, "concept-false-positive", 0.0, tau0))
