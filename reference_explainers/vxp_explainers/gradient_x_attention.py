"""Attention, and what the scores do with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.core.case import means_of_parts
from vxp.models import evaluating

from vxp_explainers._common import check_one_of
from vxp_explainers._fragments import READS, attention_of, read_attention


@explainer("gradient-x-attention", signed=True, resample="fragment", target_specific=False, needs=("activations", "gradients"),
           passes=2, family="attention", kinds=("temporal",), outputs=("sequence",), explanandum="mean-score",
           source="Apostolidis et al. 2022 (ISM), section 3.2, gradient of attention times attention")
def gradient_x_attention(model: nn.Module, batch: Batch, *, read: str = "column") -> Tensor:
    """Attention times the gradient of the sum of all scores by it, over the frames of a fragment.

    An entry is large where a frame looks at another and the scores rise with that. `read` takes for every frame the mean of its
    `column`, or its element on the `diagonal`, as the authors do; a fragment has the mean over its frames. The scores are those
    of the model with the attention as an input, its features fixed: for models that score steps and have the methods
    `attention(features) -> [B, n, n]` and `attended(features, attention)`, the scores with a given one (`vxp.frame_scores`).
    Two passes. Returns [B, S] float32, negative where what looks at a fragment has lower scores for it. Raises VxpError for a
    model without these methods, an unknown word, and items that are not divided into fragments.
    """
    check_one_of("gradient-x-attention", "read", read, READS)
    of = batch.parts_of("fragment")
    with evaluating(model), torch.enable_grad():
        scorer, attention = attention_of("gradient-x-attention", model, batch)
        leaf = attention.clone().requires_grad_()
        # summed over the videos too: the scores of one depend on its own attention only
        (gradient,) = torch.autograd.grad(scorer.attended(batch.inputs.detach(), leaf).sum(), leaf)
    return means_of_parts(read_attention(attention.double() * gradient.double(), read), of).float()
