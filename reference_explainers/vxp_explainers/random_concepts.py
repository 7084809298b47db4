"""The floor of concepts: scores that know nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, VxpError, explainer
from vxp.random import key, uniforms

from vxp_explainers._concepts import KINDS

PURPOSE = "random-concepts@1"


@explainer("random-concepts", signed=True, resample="none", target_specific=False, reference=True, passes=0, family="reference",
           kinds=KINDS, source="VXP 6.4.2")
def random_concepts(model: nn.Module, batch: Batch) -> Tensor:
    """An independent uniform number in [-1, 1) per concept, keyed by the item.

    Returns [B, K] float32: 2*u - 1 of the draws u at the places 0 to K - 1. The model is not called. Raises VxpError for items
    without concepts.
    """
    K = len(batch.concepts)
    if not K:
        raise VxpError("explainer 'random-concepts' gives a number to every concept, and these items have none: take a "
                       "task that has concepts")
    draws = [uniforms(key(batch.seed, item, PURPOSE, "scores"), 0, K, device=batch.inputs.device)[0] for item in batch.ids]
    return 2 * torch.stack(draws) - 1
