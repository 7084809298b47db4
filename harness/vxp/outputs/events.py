"""A logit for every frame of a clip: whether something, such as the end of a shot, happens at it. The target is one of the
frames, and its logit is explained (clause [output-events])."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vxp import clock
from vxp.outputs._types import Output, PerStep
from vxp.outputs.classes import predicted


@clock.stage("readout")
def _read(logits: Tensor, targets: Tensor) -> Tensor:
    """log p, log(1 - p), logit and argmax [N, 4] float64, of p = sigmoid(logit of the target).

    NaN where a logit that the readout takes is not finite: argmax takes those of all frames, the others the target's.
    """
    precise = logits.double()
    target = precise.gather(1, targets[:, None].to(logits.device))
    chosen = precise.argmax(1, keepdim=True).double()
    finite = torch.isfinite(precise)
    own = torch.isfinite(target)
    return torch.cat([F.logsigmoid(target), F.logsigmoid(-target), target, chosen], 1).masked_fill(
        ~torch.cat([own, own, own, finite.all(1, keepdim=True)], 1), float("nan"))


def _doubts(logits: Tensor, what: str) -> list[str]:
    """A warning where all logits lie in [0, 1]."""
    known = logits[torch.isfinite(logits).all(1)]
    if not known.numel() or bool((known < 0).any()) or bool((known > 1).any()):
        return []
    return [f"the outputs of {what} look like probabilities (all of them lie in [0, 1]), and VXP takes logits: the sigmoid of "
            "a probability is between .5 and .74. Pass the model without its last sigmoid"]


EVENTS = Output("events", ("log-probability", "log-complement", "logit", "argmax"), "probability", True,
                PerStep("logits", "frame", "T", "clips").checked, _read, predicted, _doubts)

__all__ = ["EVENTS"]
