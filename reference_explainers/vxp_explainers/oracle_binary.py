"""The truth itself, as it is: all positions inside are equal."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS

from vxp_explainers._common import truth_of


@explainer("oracle-binary", signed=False, resample="none", needs=("truth",), reference=True, passes=0, family="reference",
           kinds=MAPS, source="VXP 6.4.2")
def oracle_binary(model: nn.Module, batch: Batch) -> Tensor:
    """The truth of the target: 1 in its mask, or else in the cells that it is in, and 0 elsewhere.

    Its positions tie, so a score of order removes them row by row: read `oracle` there. Returns [B, *space] float32 in
    {0, 1}. The model is not called. Raises VxpError where the batch has no such truth.
    """
    return truth_of("oracle-binary", batch).to(batch.inputs.device, torch.float32)
