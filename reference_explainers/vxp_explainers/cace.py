"""The ceiling of concepts: what they cause."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, VxpError, explainer

from vxp_explainers._common import check_at_least
from vxp_explainers._concepts import KINDS, bank_of, logits_of, once


@explainer("cace", signed=True, resample="none", needs=("truth",), reference=True, passes=0, family="reference", kinds=KINDS,
           source="Goyal, Feder, Shalit and Kim 2019, arXiv:1907.07165")
def cace(model: nn.Module, batch: Batch, *, threshold: float = 0.25) -> Tensor:
    """The causal effect of every concept on the target's centred logit: the mean over pairs of examples, one scene with the
    concept and without it, of the difference (Goyal et al. 2019); 0 where that is below the
    threshold.

    It looks at the examples, whose scenes are none of the items, so that it does not repeat what a metric computes of the
    items. All items of a class have one score. Returns [B, K] float32, in units of logits. Raises VxpError without examples,
    and where they are no such pairs: then the difference may come of anything else that differs.
    """
    bank = bank_of("cace", batch)
    check_at_least("cace", 0, threshold=threshold)
    if not bank.paired:
        raise VxpError("explainer 'cace' needs pairs of examples that differ in the concept alone, and these are none: leave "
                       "it out, or take a task that has them")

    def caused() -> Tensor:
        on, off = (logits_of(model, images.flatten(0, 1)).unflatten(0, images.shape[:2]) for images in (bank.on, bank.off))
        difference = (on - on.mean(-1, keepdim=True) - (off - off.mean(-1, keepdim=True))).mean(1)
        effects: Tensor = difference.T.float()
        return torch.where(effects.abs() < threshold, torch.zeros_like(effects), effects)

    found: Tensor = once(model, batch, bank, ("cace", threshold), caused)
    return found[batch.targets]
