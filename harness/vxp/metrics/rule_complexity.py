"""Rule complexity: how many literals a rule has."""

import torch

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._rules import rules


@metric("rule-complexity", family="complexity", better="lower", range=(0, None), kinds=("rules",),
        source="Barbiero et al. 2022, arXiv:2106.06804, section 4; Ciravegna et al. 2023, arXiv:2108.05149",
        caveats=("A rule that always says one class has 0: read it with rule-fidelity.",
                 "Two forms of one rule differ: it is the form that is read which is counted."))
def rule_complexity(case: Case) -> Outcome:
    """The number of literals of the rule, over all of its alternatives.

    A literal that stands in two alternatives counts twice. Range [0, infinity), lower is better.
    """
    return outcome(torch.tensor([rule.literals for rule in rules(case)], dtype=torch.float64))
