"""The floor: a map that knows nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from vxp import outputs
from vxp.core import Batch, explainer
from vxp.kinds import MAPS, TEMPORAL
from vxp.random import key, uniforms

from vxp_explainers._common import fragments

PURPOSE = "random@1"
STREAM = "map"


@explainer("random", signed=False, resample="none", target_specific=False, reference=True, passes=0,
           family="reference", kinds=(*MAPS, TEMPORAL.id), outputs=outputs.IDS, explanandum="rank-order", source="VXP 6.4.2")
def random(model: nn.Module, batch: Batch) -> Tensor:
    """An independent uniform number per position, or per fragment of a video whose steps are scored, keyed by the item.

    Returns [B, *space] float32 in [0, 1), or [B, S]. The model is not called. Raises VxpError for sequences that are not
    divided into fragments.
    """
    of = fragments(model, batch)
    shape = batch.space if of is None else (int(of.max()) + 1,)
    maps = [uniforms(key(batch.seed, item, PURPOSE, STREAM), 0, math.prod(shape), device=batch.inputs.device)
            for item in batch.ids]
    return torch.stack(maps).view(len(batch), *shape)
