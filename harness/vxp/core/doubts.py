"""What is allowed and probably not meant: outputs that are probabilities, images that are no raw pixels. A model of one class
is refused."""

from __future__ import annotations

import torch
from torch import Tensor

from vxp.core import Batch, VxpError

SUM_OFF = 1e-3
"""So far from 1 a row of probabilities may add up to, in half precision too."""
RAW_OFF = 1e-2
"""So far outside of [0, 1] a raw value may lie by rounding: images in half precision, normalisations with few digits."""


def check_classes(classes: int, what: str = "the model") -> None:
    """VxpError for one logit: its softmax is 1 whatever the input is."""
    if classes < 2:
        raise VxpError(f"{what} returns one logit per input, whose softmax is 1 whatever the input: every score would be that "
                       "of a constant. Return two, class 1 being what the logit is for: torch.cat([torch.zeros_like(z), z], 1)")


def of_outputs(logits: Tensor) -> list[str]:
    """A warning where every row of logits [B, K] is >= 0 and sums to 1."""
    rows = logits[torch.isfinite(logits).all(1)].double()
    if not len(rows) or bool((rows < 0).any()) or bool(((rows.sum(1) - 1).abs() > SUM_OFF).any()):
        return []
    return ["the model's outputs look like probabilities (every row is >= 0 and sums to 1), and VXP takes logits: their "
            "softmax is nearly flat, and scores of it are wrong. Pass the model without its last Softmax, or one that returns "
            "torch.log of these outputs"]


def of_inputs(batch: Batch, stated: bool) -> list[str]:
    """A warning where the raw values of a batch leave [0, 1]; stated: whether its normalization was given."""
    raw = batch.raw()
    low, high = float(raw.min()), float(raw.max())
    if low >= -RAW_OFF and high <= 1 + RAW_OFF:
        return []
    if not stated:
        fix = ("divide them by 255, if the model takes them so" if low >= 0 and high > 2
               else "pass normalization=(mean, std) of the model's own preprocessing")
        why = "without a normalization they are taken for raw pixels in [0, 1]"
    else:
        why, fix = "raw = inputs*std + mean leaves [0, 1]", "check mean and std, and whether inputs were normalised by them"
    return [f"inputs have raw values from {low:.4g} to {high:.4g}, and {why}: what `black`, `blur`, `noise` and masks put "
            f"there means something else; {fix}"]
