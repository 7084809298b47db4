"""The floor: a map that knows nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.random import key, uniforms

PURPOSE = "random@1"
STREAM = "map"


@explainer("random", signed=False, resample="none", target_specific=False, reference=True, passes=0,
           family="reference", kinds=MAPS, source="VXP 6.4.2")
def random(model: nn.Module, batch: Batch) -> Tensor:
    """An independent uniform number per position, keyed by the item.

    Returns [B, *space] float32 in [0, 1). The model is not called.
    """
    maps = [uniforms(key(batch.seed, item, PURPOSE, STREAM), 0, batch.positions, device=batch.inputs.device)
            for item in batch.ids]
    return torch.stack(maps).view(len(batch), *batch.space)
