"""What is kept of a forward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from vxp import clock
from vxp.core import Readout

READOUTS: tuple[Readout, ...] = ("log-probability", "log-complement", "logit", "argmax")
"""What is kept of every forward pass: one row serves all of these."""

VECTORS: tuple[Readout, ...] = ("output", "representation")
"""What is kept only where it is asked for, since it is long."""


@clock.stage("readout")
def readouts(logits: Tensor, targets: Tensor) -> Tensor:
    """log p, log(1 - p), logit and argmax [N, 4] float64 of the targets; log-softmax in float64 (clause [output]).

    NaN where a logit that the readout takes is not finite, for the logit its own and for the others any: what is left of
    them could pass for a probability or a class.
    """
    precise = logits.double()
    at = targets[:, None].to(logits.device)
    total = precise.logsumexp(1, keepdim=True)
    target = precise.gather(1, at)
    others = precise.scatter(1, at, float("-inf")).logsumexp(1, keepdim=True)
    chosen = precise.argmax(1, keepdim=True).double()
    finite = torch.isfinite(precise)
    whole, own = finite.all(1, keepdim=True), finite.gather(1, at)
    return torch.cat([target - total, others - total, target, chosen], dim=1).masked_fill(
        ~torch.cat([whole, whole, own, whole], dim=1), float("nan"))


__all__ = ["READOUTS", "VECTORS", "readouts"]
