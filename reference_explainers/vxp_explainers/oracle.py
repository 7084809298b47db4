"""The ceiling of the localisation metrics: the truth itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, VxpError, explainer

KEYS = ("mask", "cells")
"""The truths that are maps on the input grid; the first that the batch has is taken."""


@explainer("oracle", signed=False, resample="none", needs=("truth",), reference=True, passes=0, family="reference",
           source="VXP, clause 6.4.2")
def oracle(model: nn.Module, batch: Batch) -> Tensor:
    """The truth of the target: its mask, or the cell that it is in.

    Returns [B, H, W] float32 in {0, 1}. The model is not called. Raises VxpError where the batch has no such truth.
    """
    for name in KEYS:
        if name in batch.truth:
            return batch.truth[name].detach().to(batch.inputs.device, torch.float32, copy=True)
    raise VxpError(f"explainer 'oracle' needs the truth {' or '.join(map(repr, KEYS))}, the batch has "
                   f"{', '.join(map(repr, sorted(batch.truth))) or 'none'}: leave it out of tasks without truth")
