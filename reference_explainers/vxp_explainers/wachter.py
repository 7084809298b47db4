"""The counterfactual of Wachter et al.: the smallest change that makes the model say the foil."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer

from vxp_explainers._common import check_at_least
from vxp_explainers._counterfactuals import KINDS, LEVELS, as_input, descent, one_by_one


def _passes(*, steps: int, rate: float, weight: float) -> int:
    return 2 * steps


@explainer("wachter", signed=False, resample="none", needs=("gradients",), passes=_passes, family="counterfactual",
           kinds=KINDS, source="Wachter, Mittelstadt and Russell 2017, eq. 1")
def wachter(model: nn.Module, batch: Batch, *, steps: int = 200, rate: float = 0.01, weight: float = 20.0) -> Tensor:
    """The image with the smallest change, in L1, among those of a descent at which the model says the foil.

    Minimised is the cross-entropy to the foil plus `weight` times the mean absolute change of the raw values, by `steps` steps
    of Adam from the item; `rate` is its step in raw units. The model is shown the image rounded to 8-bit levels at every step,
    as it will be stored, and its gradient goes through the rounding as if there were none: so what it says of the stored image
    is known. Of the rounded images of which it says the foil the one with the smallest change is taken; where there is none,
    the last. Each item is optimised alone, so that it does not depend on neighbours, and no number is drawn. Returns
    uint8 [B, C, H, W]. Raises VxpError for items without a foil, steps below 1 and a negative weight.

    Departs from the paper: one weight in place of a search for the largest that still reaches the foil; cross-entropy in place
    of a squared difference; no weights of features, of which pixels have no use. It knows nothing of what images look like: on
    most models it finds adversarial pixels.
    """
    check_at_least("wachter", 1, steps=steps)
    check_at_least("wachter", 0, rate=rate, weight=weight)

    def nearest(i: int, own: Tensor, foil: Tensor) -> Tensor:
        start = own.float() / LEVELS
        scale = torch.tensor(batch.normalization.std, dtype=start.dtype, device=start.device).view(-1, 1, 1)
        raw = start.clone().requires_grad_()
        optimiser = torch.optim.Adam([raw], lr=rate)
        best, least = own, float("inf")
        for _ in range(steps):
            image = (raw.detach() * LEVELS).round().to(torch.uint8)
            reached, _, gradient = descent(model, as_input(batch, i, image), foil)
            change = raw.detach() - start
            size = float((image.float() - own.float()).abs().mean())
            if reached and size < least:
                best, least = image, size
            raw.grad = gradient.float() / scale + weight * change.sign() / change.numel()
            optimiser.step()
            with torch.no_grad():
                raw.clamp_(0, 1)
        return best if least < float("inf") else image

    return one_by_one("wachter", model, batch, nearest)
