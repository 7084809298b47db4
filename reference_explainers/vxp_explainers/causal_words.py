"""The ceiling of explanations in words: what is causal by removal, told."""

from __future__ import annotations

from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import encoded

from vxp_explainers import _told


@explainer("causal-words", signed=False, resample="none", target_specific=False, reference=True, passes=1 + _told.PARTS,
           family="reference", kinds=("text",), outputs=("classes", "sequence"), explanandum="rank-order", source="VXP 6.4.2")
def causal_words(model: nn.Module, batch: Batch, *, share: float = 0.5, fill: str = "zero", names: str = "none") -> Tensor:
    """The shots of a video, or the parts of an image, without which the model says something else, as `claim-precision` finds
    them.

    Claimed to be causes are the parts whose effect is at least `share` of the largest, the largest first, and nothing else. So
    it has a precision and a recall of 1 by metrics of the same share and fill. names says who names what a shot is seen as:
    `none`, or `efficientnet-lite0` where the features are those that it gives (`fragment-text`). Images need the truth
    `without`. Returns uint8 [B, 8192]. Raises VxpError for an unknown word, fill or share, and for items without parts.
    """
    _told.check("causal-words", share)
    found = _told.removal(model, batch, fill)
    return encoded([item.words(_told.causal(found, i, share)) for i, item in enumerate(_told.items(batch, names))])
