"""The floor of parts: scores that know nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.random import key, uniforms

from vxp_explainers._parts import KINDS, PART, parts

PURPOSE = "part-random@1"


@explainer("part-random", signed=False, resample="none", target_specific=False, reference=True, passes=0, family="reference",
           kinds=KINDS, source="VXP 6.4.2")
def part_random(model: nn.Module, batch: Batch) -> Tensor:
    """The parts of an image, each with an independent uniform number in [0, 1), keyed by the item.

    Part k has the draw at place k. The model is not called. Returns regions [B, 2, H, W] float32. Raises VxpError for items
    without parts.
    """
    K = batch.count_of(PART)
    draws = [uniforms(key(batch.seed, item, PURPOSE, "scores"), 0, K, device=batch.inputs.device)[0] for item in batch.ids]
    return parts(batch, torch.stack(draws))
