"""The ceiling of counterfactuals: the item rendered anew as the foil."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, VxpError, explainer

from vxp_explainers._counterfactuals import KINDS, foils_of


@explainer("rerendered", signed=False, resample="none", needs=("truth",), reference=True, passes=0, family="reference",
           kinds=KINDS, source="VXP 6.4.2")
def rerendered(model: nn.Module, batch: Batch) -> Tensor:
    """The item's exact counterfactual: its own rendering as the foil, of the truth `classes`, in which all else is as it was.

    Returns uint8 [B, C, H, W]. The model is not called. Raises VxpError for items without a foil, and where the batch has no
    such truth.
    """
    foils = foils_of("rerendered", batch)
    if "classes" not in batch.truth:
        raise VxpError("explainer 'rerendered' needs the truth 'classes', the batch has "
                       f"{', '.join(map(repr, sorted(batch.truth))) or 'none'}: leave it out of tasks without re-renderings")
    return batch.truth["classes"][torch.arange(len(batch), device=foils.device), foils].to(torch.uint8)
