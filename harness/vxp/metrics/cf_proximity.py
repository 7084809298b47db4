"""Proximity: how little a counterfactual changes."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._counterfactual import KINDS, SEEN_ALONE, change, unchanged


@metric("cf-proximity", family="counterfactual", better="lower", range=(0, 1), kinds=KINDS, undefined=("unchanged",),
        source="Wachter, Mittelstadt and Russell 2017, arXiv:1711.00399; Mothilal, Sharma and Tan 2020, "
               "doi:10.1145/3351095.3372850",
        caveats=(SEEN_ALONE,
                 "It does not ask whether the model's answer changed: read it beside cf-validity.",
                 "The true counterfactual changes as much as the class asks for, which need not be little."))
def cf_proximity(case: Case) -> Outcome:
    """Mean absolute change of the raw values in [0, 1], over positions and channels (L1).

    Range [0, 1], lower is better. Undefined where the counterfactual is the item.
    """
    return outcome(change(case).abs().flatten(1).double().mean(1) / 255, {"unchanged": unchanged(case)})
