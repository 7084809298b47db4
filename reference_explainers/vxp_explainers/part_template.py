"""The ceiling of prototypes: one for every part, found where it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp.core import Batch, explainer

from vxp_explainers._prototypes import KINDS, SIDE


@explainer("part-template", signed=False, resample="none", target_specific=False, needs=("truth",), reference=True, passes=0,
           family="reference", kinds=KINDS, source="VXP 6.4.2")
def part_template(model: nn.Module, batch: Batch) -> Tensor:
    """A prototype for every part of the images, with the share of each cell of a grid of 16 x 16 that is the part: each is
    found on its own part, always.

    It knows the parts and nothing of the model, so that it is the ceiling of what only asks where prototypes are found. Returns
    [B, K, 16, 16] float32. Raises VxpError for items without parts.
    """
    of = batch.parts_of("part").view(len(batch), *batch.space)
    return torch.stack([F.adaptive_avg_pool2d((of == k).float(), SIDE) for k in range(batch.count_of("part"))], 1)
