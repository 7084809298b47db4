"""Sparsity: at how many positions a counterfactual changes."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._counterfactual import KINDS, SEEN_ALONE, change, unchanged


@metric("cf-sparsity", family="counterfactual", better="lower", range=(0, 1), kinds=KINDS, undefined=("unchanged",),
        source="Mothilal, Sharma and Tan 2020, doi:10.1145/3351095.3372850", limits={"eps": (0, 254)},
        caveats=(SEEN_ALONE,
                 "A change that stays below the threshold everywhere scores 0, the best there is: noise of eps levels at every "
                 "position counts as no change.",
                 "It does not ask whether the model's answer changed: read it beside cf-validity."))
def cf_sparsity(case: Case, *, eps: int = 8) -> Outcome:
    """Share of the positions that change by more than eps levels in some channel.

    Range [0, 1], lower is better. Undefined where the counterfactual is the item.
    """
    changed = (change(case).abs() > eps).any(1)
    return outcome(changed.flatten(1).double().mean(1), {"unchanged": unchanged(case)})
