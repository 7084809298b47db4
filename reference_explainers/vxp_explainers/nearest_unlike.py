"""The nearest example that the model takes for the foil."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, VxpError, explainer
from vxp.core.perturb import levels, own_levels
from vxp.models import evaluating

from vxp_explainers._concepts import logits_of
from vxp_explainers._counterfactuals import KINDS, foils_of

EXAMPLES = 1600
"""Of the pool whose passes are the nominal ones."""


@explainer("nearest-unlike", signed=False, resample="none", passes=EXAMPLES, family="counterfactual", kinds=KINDS,
           source="Dasarathy 1995 (nearest unlike neighbour); as a counterfactual Keane and Smyth 2020, arXiv:2005.13997")
@torch.no_grad()
def nearest_unlike(model: nn.Module, batch: Batch) -> Tensor:
    """Of the example images of the concepts, those that the model takes for the foil, the one nearest to the item in L2.

    The examples are those that the task gives (`Batch.bank`), in 8-bit levels; of equally near ones the first is taken. The
    model is asked once of every example, for all items together: a bank of 1600 images takes 1600 passes. Where it takes none
    for the foil, the item's answer is the nearest example of any class. Returns uint8 [B, C, H, W]. Raises VxpError for items
    without a foil, and where there are no examples.

    It is a real image of the other class, and differs from the item in all that the two images differ in.
    """
    foils, own = foils_of("nearest-unlike", batch), own_levels(batch)
    if batch.bank is None:
        raise VxpError("explainer 'nearest-unlike' looks among example images, and the items have none: give bank=, or take a "
                       "task whose data set has examples")
    pool = torch.cat([batch.bank.on.flatten(0, 1), batch.bank.off.flatten(0, 1)])
    with evaluating(model):
        said = logits_of(model, pool).argmax(1)
    images = levels(batch.to_raw(pool.double()))
    return torch.stack([images[_nearest(images, said == foil, item)] for foil, item in zip(foils, own, strict=True)])


def _nearest(images: Tensor, like: Tensor, item: Tensor) -> int:
    """The number of the image nearest to the item, among those that are like the foil, if there are any."""
    among = torch.nonzero(like | ~like.any()).flatten()
    distance = (images[among].int() - item.int()).square().flatten(1).long().sum(1)
    return int(among[distance.argmin()])
