"""Semantic validity: whether a counterfactual looks like the class that it was made for."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._counterfactual import KINDS, foils, renderings


@metric("cf-semantic", family="semantics", better="higher", range=(0, 1), binary=True, kinds=KINDS, truth=("classes",),
        source="VXP, after Hvilshøj, Iosifidis and Assent 2021, arXiv:2111.00177, whose Label Variation Score and Oracle Score "
               "ask a second classifier",
        caveats=("Needs items that can be re-rendered as every class: it says what an explainer does on such data, and on "
                 "photographs it may do otherwise.",
                 "It does not ask the model: a picture of the foil that the model takes for something else scores 1. Read it "
                 "beside cf-validity.",
                 "The nearest re-rendering is the foil's or it is not: a change half-way beyond the middle counts as whole. "
                 "cf-collateral says what else has changed."))
def cf_semantic(case: Case) -> Outcome:
    """1 where, of the item's exact re-renderings as every class, the one nearest to the counterfactual is the foil's, else 0.

    Nearest by the mean squared difference in levels; of two that are equally near the one of the lower class counts. Higher is
    better. An item that was given back unchanged is nearest to its own class, and scores 0.
    """
    images = renderings(case, "classes", "cf-semantic").long()
    # exact in integers, so that equal distances are equal for everybody
    distance = (images - case.native.long()[:, None]).square().flatten(2).sum(2)
    return outcome((distance.argmin(1) == foils(case, "cf-semantic")).double())
