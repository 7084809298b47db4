"""How much the frames of a video are attended to."""

from __future__ import annotations

from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.core.case import means_of_parts
from vxp.models import evaluating

from vxp_explainers._common import check_one_of
from vxp_explainers._fragments import READS, attention_of, read_attention


@explainer("frame-attention", signed=False, resample="fragment", target_specific=False, needs=("activations",), passes=1,
           family="attention", kinds=("temporal",), outputs=("sequence",), explanandum="rank-order",
           source="Apostolidis et al. 2022 (ISM), section 3.2, the diagonal")
def frame_attention(model: nn.Module, batch: Batch, *, read: str = "column") -> Tensor:
    """The attention that the frames of a fragment draw, averaged over them.

    Of the matrix of attention, whose rows sum to 1, `read` takes for every frame the mean of its `column`, how much all frames
    look at it, or its element on the `diagonal`, how much it looks at itself, as the authors do. Attention knows no output: it
    is declared as an explanation of the order of the scores, by which its authors judge it. For models that score steps and
    have a method `attention(features) -> [B, n, n]` (`vxp.frame_scores`). One pass, of the attention alone. Returns [B, S]
    float32, at least 0. Raises VxpError for a model without attention or with one of another form, an unknown word, and items
    that are not divided into fragments.
    """
    check_one_of("frame-attention", "read", read, READS)
    of = batch.parts_of("fragment")
    with evaluating(model):
        _, attention = attention_of("frame-attention", model, batch)
    return means_of_parts(read_attention(attention.double(), read), of).float()
