"""A rule that says what the model says: a small tree fitted on its predictions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import ruled
from vxp.models import evaluating

from vxp_explainers import _logic
from vxp_explainers._concepts import logits_of

EXAMPLES = 320
"""Of the bank whose passes are the nominal ones; they are shared by the items that are explained together, 32 as a rule."""


@explainer("rule-extraction", signed=False, resample="none", passes=EXAMPLES // 32, family="concept", kinds=("rules",),
           source="Craven and Shavlik 1996, NIPS 8; rules of concepts: Barbiero et al. 2022, arXiv:2106.06804")
@torch.no_grad()
def rule_extraction(model: nn.Module, batch: Batch, *, depth: int = 3, least: int = 5) -> Tensor:
    """When a decision tree over the concepts of the examples, fitted on what the model predicts for them, says the target.

    A surrogate of the whole model in terms of concepts. Unlike the networks of the second source it needs no model that is
    built of concepts, and unlike the first source it draws no examples of its own. Parameters and rule are those of
    `rule-tree`, from which it differs in the classes alone. The examples are run once for all items that are explained
    together. Returns uint8 [B, 4096]. Raises VxpError where the task has no examples with known concepts.
    """
    _logic.check("rule-extraction", depth, least)
    bank = _logic.examples("rule-extraction", batch)
    shown = _logic.inputs(bank)
    with evaluating(model):
        said = logits_of(model, shown).argmax(1)
    leaves = _logic.learned(bank, said, depth, least)
    return ruled([_logic.rule_of(leaves, target) for target in batch.targets.tolist()])
