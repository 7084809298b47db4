"""Rule fidelity: whether the rule that explains one item says of the others what the model predicts."""

import torch

from vxp.core import Case, Plan, metric, outcome
from vxp.metrics._rules import PRESENT, agreement, concepts, rules, said


@metric("rule-fidelity", family="faithfulness", better="higher", range=(0, 1), truth=(PRESENT,), kinds=("rules",),
        reduce=agreement, source="Craven and Shavlik 1996 (NIPS 8), fidelity; Barbiero et al. 2022, arXiv:2106.06804",
        caveats=("A rule that always says the most frequent class scores its share: compare with rule-majority.",
                 "Correlated concepts stand in for each other: a rule of the wrong ones can be right on the items of the task.",
                 "The concepts are those that the data set states, whether or not the model sees them.",
                 "Read it with rule-complexity: a rule of every combination of concepts is faithful and explains nothing."))
def rule_fidelity(case: Case) -> Plan:
    """The share of pairs of items of different clusters of which the rule for the one says what the model predicts for the
    other.

    A rule is asked about the concepts that the item has by the truth `present`. Where one of its alternatives holds it says its
    class, however many hold; where none does, the class `otherwise`; where there is none, nothing, which is right where another
    class than its own is predicted. Range [0, 1], higher is better. statistics float64 [B, 2 + 2^K]. VxpError for more than ten
    concepts.

    No rule is asked about the item that it was made for: one that says of this item alone what is predicted, on no condition,
    would always be right.
    """
    names = concepts(case)
    predicted = (yield case.unchanged("argmax"))[:, 0].cpu().double()
    digits = 2.0 ** torch.arange(len(names), dtype=torch.float64)
    has = case.batch.truth[PRESENT].cpu().bool().double() @ digits
    told = torch.tensor([said(rule, names) for rule in rules(case)], dtype=torch.float64)
    statistics = torch.cat([has[:, None], predicted[:, None], told], 1)
    return outcome(torch.full((len(told),), torch.nan, dtype=torch.float64), statistics=statistics)
