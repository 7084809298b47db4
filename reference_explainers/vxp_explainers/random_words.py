"""The floor of explanations in words: some parts, drawn, told as if they counted."""

from __future__ import annotations

from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import encoded
from vxp.random import key, uniforms

from vxp_explainers import _told
from vxp_explainers._common import check_at_least

PURPOSE = "random-words@1"
STREAM = "order"


@explainer("random-words", signed=False, resample="none", target_specific=False, reference=True, passes=0, family="reference",
           kinds=("text",), outputs=("classes", "sequence"), explanandum="rank-order", source="VXP 6.4.2")
def random_words(model: nn.Module, batch: Batch, *, k: int = 3, names: str = "none") -> Tensor:
    """k of the shots of a video, or of the parts of an image, in a drawn order, keyed by the item.

    The parts with the k largest of as many uniform numbers as there are parts; all where there are fewer. Their words are those
    of `causal-words`. The model is not called. Returns uint8 [B, 8192]. Raises VxpError for a k below 1 and for items without
    parts.
    """
    check_at_least("random-words", 1, k=k)
    said = []
    for id, item in zip(batch.ids, _told.items(batch, names), strict=True):
        drawn = uniforms(key(batch.seed, id, PURPOSE, STREAM), 0, item.parts).flatten()
        said.append(item.words(drawn.argsort(descending=True, stable=True)[:k].tolist()))
    return encoded(said)
