"""Of concepts what can be told without asking what the model does with it: whether they can be decoded."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer

from vxp_explainers._concepts import KINDS, PENALTY, checked, cross_validated, of_bank, once


@explainer("cav-accuracy", signed=True, resample="none", target_specific=False, needs=("activations", "layer"), reference=True,
           passes=0, family="reference", kinds=KINDS, source="VXP 6.4.2")
def cav_accuracy(
    model: nn.Module, batch: Batch, *, layer: str | None = None, pool: str = "none", penalty: float = PENALTY
) -> Tensor:
    """How well a linear classifier at the layer tells examples with a concept from examples without it, less one half: what
    can be decoded need not be used.

    The share of examples that are told right by five-fold cross-validation of ridge regressions, as `cav-derivative` fits
    them. A fold is every fifth example with and without the concept. All items have one score, whatever their target. Returns
    [B, K] float32 in [-1/2, 1/2]. Raises VxpError without examples, and for a layer that is unknown, not used or without
    spatial output.
    """
    bank = checked("cav-accuracy", batch, pool, penalty=penalty)

    def told() -> Tensor:
        on, off = of_bank(model, batch, bank, layer, pool)
        return torch.tensor([cross_validated(one, other, penalty) - 0.5 for one, other in zip(on, off, strict=True)])

    found = once(model, batch, bank, ("cav-accuracy", layer, pool, penalty), told)
    return found.float().to(batch.inputs.device).expand(len(batch), len(bank.names)).clone()
