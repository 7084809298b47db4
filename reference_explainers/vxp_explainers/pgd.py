"""An adversarial example by projected gradient descent: a counterfactual that is none, to compare with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer

from vxp_explainers._common import check_at_least
from vxp_explainers._counterfactuals import KINDS, LEVELS, as_input, descent, one_by_one


def _passes(*, steps: int, radius: int, step: int) -> int:
    return 2 * steps


@explainer("pgd", signed=False, resample="none", needs=("gradients",), passes=_passes, family="counterfactual", kinds=KINDS,
           source="Madry et al. 2018, section 2.1, towards a class")
def pgd(model: nn.Module, batch: Batch, *, steps: int = 20, radius: int = 5, step: int = 1) -> Tensor:
    """The image within `radius` levels of the item to which signed gradient steps lead that make the foil likelier.

    Each of `steps` steps moves every value by `step` levels against the sign of the gradient of the cross-entropy to the
    foil, and back into the ball of `radius` levels and into 0..255. All images on the way are whole levels, so that nothing is
    lost when they are stored. It starts at the item, and no number is drawn; each item is taken alone. Returns
    uint8 [B, C, H, W]. Raises VxpError for items without a foil, and for steps, radius or step below 1.

    It uses the model and nothing of what images look like: what it shares with a counterfactual is that the model says the
    foil. So it is what a measure of counterfactuals must not crown.
    """
    check_at_least("pgd", 1, steps=steps, radius=radius, step=step)

    def attacked(i: int, own: Tensor, foil: Tensor) -> Tensor:
        low, high = (own.int() - radius).clamp_min(0), (own.int() + radius).clamp_max(LEVELS)
        image = own
        for _ in range(steps):
            _, _, gradient = descent(model, as_input(batch, i, image), foil)
            image = (image.int() - step * gradient.sign().int()).clamp(low, high).to(torch.uint8)
        return image

    return one_by_one("pgd", model, batch, attacked)
