"""Collateral change: how much of what a counterfactual changes lies where the two classes do not differ."""

import torch

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._counterfactual import KINDS, change, foils, of_class, renderings, unchanged


@metric("cf-collateral", family="semantics", better="lower", range=(0, 1), kinds=KINDS, truth=("class_masks",),
        undefined=("no-label", "unchanged"), source="VXP",
        caveats=("Needs items that can be re-rendered as every class.",
                 "A change of the right place need not be the right change: read it beside cf-semantic.",
                 "It is a share: a small change outside counts as much as a large one, if it is all that there is."))
def cf_collateral(case: Case) -> Outcome:
    """Share of the squared change that lies outside the item's own object and that of the foil.

    The squares of the changes in levels, summed over channels; the two objects are the masks of the item's first label and of
    the foil, rendered at its place. Range [0, 1], lower is better: 0 where nothing changes that the classes do not ask for.
    Undefined for an item without a label, and where the counterfactual is the item.
    """
    masks = renderings(case, "class_masks", "cf-collateral").bool()
    own = case.batch.known_labels()[:, 0].to(masks.device)
    none = (own < 0) | (own >= masks.shape[1])
    inside = of_class(masks, own.masked_fill(none, 0)) | of_class(masks, foils(case, "cf-collateral"))
    squared = change(case).square().sum(1).flatten(1)
    outside = torch.where(inside.flatten(1), 0, squared).sum(1)
    return outcome(outside.double() / squared.sum(1).clamp_min(1), {"no-label": none, "unchanged": unchanged(case)})
