"""The floor of prototypes: places that mean nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.random import key, uniforms

from vxp_explainers._prototypes import KINDS, SIDE

PURPOSE = "random-patches@1"
PROTOTYPES = 3


@explainer("random-patches", signed=False, resample="none", target_specific=False, reference=True, passes=0, family="reference",
           kinds=KINDS, source="VXP 6.4.2")
def random_patches(model: nn.Module, batch: Batch) -> Tensor:
    """Three prototypes with an independent uniform number at every cell of a grid of 16 x 16, keyed by the item: each is found
    at a random cell.

    The model is not called. Returns [B, 3, 16, 16] float32 in [0, 1).
    """
    maps = [uniforms(key(batch.seed, item, PURPOSE, "maps"), 0, PROTOTYPES * SIDE * SIDE, device=batch.inputs.device)[0]
            for item in batch.ids]
    return torch.stack(maps).view(len(batch), PROTOTYPES, SIDE, SIDE)
