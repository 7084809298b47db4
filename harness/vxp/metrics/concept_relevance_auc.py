"""Relevance of concepts: whether the concepts that matter to a class have greater scores than those that do not."""

import torch
from torch import Tensor

from vxp.core import Case, Plan, metric
from vxp.metrics._concepts import CAVEATS, KINDS, SOURCE, TRUTH, Cells, by_resample, plan


def area(found: Cells, r: int) -> Tensor:
    """The area under the ROC curve of a resample; NaN without a relevant or an irrelevant cell."""
    scores = found.scores[r].abs()
    high, low = scores[found.relevant[r]], scores[found.irrelevant[r]]
    if not len(high) or not len(low):
        return torch.tensor(float("nan"), dtype=torch.float64)
    above, equal = (high[:, None] > low).double(), (high[:, None] == low).double()
    return (above + equal / 2).mean()


@metric("concept-relevance-auc", family="concepts", better="higher", range=(0, 1), kinds=KINDS, truth=TRUTH,
        undefined=("single-class",), reduce=by_resample(area), source=SOURCE, limits={"tau": (0, None), "tau0": (0, None)},
        caveats=(*CAVEATS, "The sign of a score does not count: read concept-sign beside it.",
                 "Where the model uses what is easy to decode, the accuracy of a classifier of the concept does well, too: "
                 "compare with the reference cav-accuracy, and run a model that uses something else."))
def concept_relevance_auc(case: Case, *, tau: float = 1.0, tau0: float = 0.25) -> Plan:
    """Probability that a cell of concept and class whose effect is beyond tau has a greater absolute mean score than one whose
    effect is below tau0; ties count one half.

    The effect of a concept on a class is the mean over all items of the class's centred logit with the concept on, less that
    with it off (CaCE, Goyal et al. 2019), in units of logits. The score of a cell is the mean over the items whose target is
    the class; classes without such items have no cell. Range [0, 1], higher is better, 0.5 by chance. Undefined for a model
    of one class. statistics float64 [B, 4 + K + K*C]: target, K, tau, tau0, scores, effects on all classes.
    """
    return (yield from plan(case, "concept-relevance-auc", tau, tau0))
