"""Attention multiplied through the layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating

from vxp_explainers._transformer import attentions, check_attentions, identity, seen_patches


@explainer("attention-rollout", signed=False, resample="bilinear", target_specific=False, needs=("activations",), passes=1,
           family="attention", kinds=MAPS, source="Abnar and Zuidema 2020, section 3, eq. 1")
@torch.no_grad()
def attention_rollout(model: nn.Module, batch: Batch) -> Tensor:
    """How much the class token of a vision transformer draws from each patch: the product over layers of A/2 + I/2, A the
    layer's attention probabilities averaged over heads and I for the residual connection; it does not know the class.

    The map is the class token's row, or the mean of all rows where there is no class token. Of clips the patches are tubelets
    on the grid of the 3-D convolution that embeds them, or those of every frame where a model of images is asked frame by
    frame. Reads nn.MultiheadAttention, timm's Attention and that of transformers. Returns [B, h, w] float32 on the grid of
    patches, [B, t, h, w] of clips, at least 0. Raises VxpError for a model without attention, or with one that is masked or
    changes its tokens between layers, as MViT's and Swin's do and TimeSformer's, which is divided into time and space.
    """
    with evaluating(model), attentions(model) as found:
        model(batch.inputs.detach())
    place = check_attentions("attention-rollout", model, found, batch)
    rolled = identity(found[0]).expand(len(found[0]), -1, -1)
    for attention in found:
        rolled = (attention.double().mean(1) + identity(attention)) / 2 @ rolled
    return seen_patches(rolled, place, batch).float()
