"""The ceiling of rules: the formula by which the classes were made."""

from __future__ import annotations

from torch import Tensor, nn
from vxp.core import Batch, VxpError, explainer
from vxp.documents.rules import Rule
from vxp.kinds import ruled

from vxp_explainers import _logic

SAYS, OTHERWISE = 1, 0


@explainer("rule-formula", signed=False, resample="none", target_specific=False, reference=True, passes=0, family="reference",
           kinds=("rules",), needs=("truth",), source="VXP 6.4.2")
def rule_formula(model: nn.Module, batch: Batch, *, formula: str = "round & red or !round & ground") -> Tensor:
    """A formula of concepts that is known: class 1 where it holds, and class 0 otherwise.

    `or` parts alternatives, `&` joins literals, and `!` says that an item has not the concept. By default it is that of the
    model factors-rule, which was trained on it: round and red, or not round on a bright ground. It is a ceiling as far as the
    model learned its task. The model is not called. Returns uint8 [B, 4096]. Raises VxpError for a formula that cannot be read,
    and for one of concepts that the task does not name.
    """
    alternatives = _logic.parsed("rule-formula", formula)
    unknown = sorted({literal.concept for some in alternatives for literal in some} - set(batch.concepts))
    if unknown:
        raise VxpError(f"explainer 'rule-formula': the formula names {', '.join(unknown)}, and the concepts of the task are "
                       f"{', '.join(batch.concepts) or 'none'}: give its formula, or leave it out")
    return ruled([Rule(alternatives, SAYS, OTHERWISE)] * len(batch))
