"""A foil of explanations in words: true of the item, and no cause."""

from __future__ import annotations

from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import encoded

from vxp_explainers import _told


@explainer("true-not-causal", signed=False, resample="none", target_specific=False, reference=True, passes=1 + _told.PARTS,
           family="reference", kinds=("text",), outputs=("classes", "sequence"), explanandum="rank-order", source="VXP 6.4.2")
def true_not_causal(model: nn.Module, batch: Batch, *, share: float = 0.5, fill: str = "zero", names: str = "none") -> Tensor:
    """The shots of a video, or the parts of an image, that the model misses least, told as if they counted.

    All that is told is there, and has the words, the times and the number of claims of `causal-words`; only what it claims to
    count does not. So a metric that puts it beside the ceiling judges how an explanation sounds, and not whether it is right.
    Claimed are as many parts as are causal, of those that are not, the smallest effect first; fewer where there are fewer.
    Parameters, truth and errors are those of `causal-words`. Returns uint8 [B, 8192].
    """
    _told.check("true-not-causal", share)
    found = _told.removal(model, batch, fill)
    return encoded([item.words(_told.not_causal(found, i, share)) for i, item in enumerate(_told.items(batch, names))])
