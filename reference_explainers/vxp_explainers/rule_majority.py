"""The floor of rules: always the same class."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.documents.rules import Rule
from vxp.kinds import ruled

from vxp_explainers import _logic


@explainer("rule-majority", signed=False, resample="none", target_specific=False, reference=True, passes=0, family="reference",
           kinds=("rules",), source="VXP 6.4.2")
def rule_majority(model: nn.Module, batch: Batch) -> Tensor:
    """The rule that always says the class which most examples of the concepts have, the first of equal ones.

    The model is not called. Returns uint8 [B, 4096]. Raises VxpError where the task has no examples with known concepts.
    """
    bank = _logic.examples("rule-majority", batch)
    assert bank.labels is not None, "examples were checked"
    most = int(torch.bincount(bank.labels.flatten().cpu()).argmax())
    return ruled([Rule(((),), most)] * len(batch))
