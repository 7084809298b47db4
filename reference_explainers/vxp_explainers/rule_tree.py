"""The data-only reference of rules: a small tree that tells the classes of examples, and never sees the model."""

from __future__ import annotations

from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import ruled

from vxp_explainers import _logic


@explainer("rule-tree", signed=False, resample="none", reference=True, passes=0, family="reference", kinds=("rules",),
           source="VXP 6.4.2; Breiman et al. 1984")
def rule_tree(model: nn.Module, batch: Batch, *, depth: int = 3, least: int = 5) -> Tensor:
    """When a decision tree over the concepts of the examples, fitted on their correct classes, says the target.

    It knows what the model was to learn, and not what it did learn: where a model errs in a way of its own, or goes by
    something else, this rule does not follow. The tree has at most `depth` splits in a row and `least` examples in every leaf;
    its leaves that say the target are the alternatives, and of two classes the other one is said otherwise. The model is not
    called. Returns uint8 [B, 4096]. Raises VxpError where the task has no examples with known concepts.
    """
    _logic.check("rule-tree", depth, least)
    bank = _logic.examples("rule-tree", batch)
    assert bank.labels is not None, "examples were checked"
    leaves = _logic.learned(bank, bank.labels.flatten(), depth, least)
    return ruled([_logic.rule_of(leaves, target) for target in batch.targets.tolist()])
