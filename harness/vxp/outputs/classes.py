"""Logits of classes, one of which is explained (clause [output])."""

from __future__ import annotations

import torch
from torch import Tensor

from vxp import clock
from vxp.core import VxpError, doubts
from vxp.outputs._types import Output


def checked(raw: object, inputs: Tensor) -> Tensor:
    """The logits [N, K] as they are; VxpError for another type or shape."""
    if not isinstance(raw, Tensor):
        raise VxpError(f"the model returned a {type(raw).__name__}, expected a tensor of logits [B, K]: wrap it in a "
                       "module that returns the logits alone")
    if raw.ndim != 2 or len(raw) != len(inputs):
        raise VxpError(f"the model returned a tensor {tuple(raw.shape)} for {len(inputs)} inputs, expected logits "
                       f"[{len(inputs)}, K]: wrap it in a module that returns one row of logits per input")
    return raw


@clock.stage("readout")
def read(logits: Tensor, targets: Tensor) -> Tensor:
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


def predicted(logits: Tensor) -> Tensor:
    """The predicted class of logits [N, K]; 0 where they are not finite and nothing is predicted."""
    return torch.where(torch.isfinite(logits).all(1), logits.argmax(1), 0)


def _doubts(logits: Tensor, what: str) -> list[str]:
    doubts.check_classes(logits.shape[1], what)
    return doubts.of_outputs(logits)


CLASSES = Output("classes", ("log-probability", "log-complement", "logit", "argmax"), "probability", True, checked, read,
                 predicted, _doubts)

__all__ = ["CLASSES", "checked", "predicted", "read"]
