"""The floor of counterfactuals: noise as strong as the true change."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.core.perturb import own_levels
from vxp.random import key, normals

from vxp_explainers._counterfactuals import KINDS, LEVELS, foils_of

PURPOSE, STREAM = "noise-equal@1", "image"
SIGMA = 0.08
"""In raw units, where the true change is not known."""


@explainer("noise-equal", signed=False, resample="none", target_specific=False, reference=True, passes=0, family="reference",
           kinds=KINDS, source="VXP 6.4.2")
def noise_equal(model: nn.Module, batch: Batch) -> Tensor:
    """The item plus normal noise at every value, keyed by the item, rounded to levels.

    Its standard deviation is the root mean square, over all values, of the change to the item's own rendering as the foil,
    where the batch has the truth `classes`; else 0.08 of the range. So it changes as much as the truth, in L2, except for what
    is cut off at black and white. Returns uint8 [B, C, H, W]. The model is not called. Raises VxpError for inputs of more than
    four channels.
    """
    own = own_levels(batch)
    C, H, W = own.shape[1:]
    draws = [normals(key(batch.seed, item, PURPOSE, STREAM), 0, H * W, C, device=own.device).view(C, H, W)
             for item in batch.ids]
    noise = torch.stack(draws).double() * _deviation(batch, own).view(-1, 1, 1, 1)
    return (own + noise + 0.5).floor().clamp(0, LEVELS).to(torch.uint8)


def _deviation(batch: Batch, own: Tensor) -> Tensor:
    """float64 [B], in levels."""
    if "classes" not in batch.truth:
        return torch.full((len(batch),), SIGMA * LEVELS, dtype=torch.float64, device=own.device)
    true = batch.truth["classes"][torch.arange(len(batch), device=own.device), foils_of("noise-equal", batch)]
    return (true.long() - own.long()).square().flatten(1).double().mean(1).sqrt()
