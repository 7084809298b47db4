"""Attention weighted by its gradient, summed through the layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating

from vxp_explainers._common import leaf
from vxp_explainers._transformer import attentions, check_attentions, identity, seen_patches


@explainer("chefer-lrp", signed=False, resample="bilinear", needs=("gradients", "activations"), passes=2,
           family="attention", kinds=MAPS,
           source="Chefer, Gur and Wolf 2021 (Generic Attention-model Explainability), eq. 5 and 6")
def chefer_lrp(model: nn.Module, batch: Batch) -> Tensor:
    """What each patch of a vision transformer adds to the class token: R starts as I, and every layer makes it R + A R, A
    the mean over heads of the positive part of attention times the gradient of the target's logit by it.

    The map is the class token's row, or the mean of all rows where there is no class token. The authors' later rule, in
    which attention stands for the relevance that their earlier one propagates. Models, clips and errors as for
    `attention-rollout`. Returns [B, h, w] float32 on the grid of patches, [B, t, h, w] of clips, at least 0.
    """
    with evaluating(model), torch.enable_grad(), attentions(model) as found:
        # the inputs need a gradient, so that the attention has one where all weights are frozen
        logits = model(leaf(batch.inputs))
        place = check_attentions("chefer-lrp", model, found, batch)
        # summed: an item's logit depends on its own rows only, so each row gets its own gradient
        gradients = torch.autograd.grad(logits.gather(1, batch.targets[:, None]).sum(), found)
    relevance = identity(found[0]).expand(len(found[0]), -1, -1)
    for attention, gradient in zip(found, gradients, strict=True):
        weighted = (attention.detach().double() * gradient.double()).relu().mean(1)
        relevance = relevance + weighted @ relevance
    return seen_patches(relevance, place, batch).float()
