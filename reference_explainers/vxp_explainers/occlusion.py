"""What happens when a window is covered."""

from __future__ import annotations

import math

from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import at_once, check_at_least, check_one_of, probabilities

SIZE = 224
"""The side, in positions, at which window and stride are given; elsewhere they are scaled with the shorter side."""
READOUTS = ("probability", "logit")


def _passes(*, window: int, stride: int, fill: str, readout: str) -> int:
    """One plain forward and one per place of the window on a square image."""
    return 1 + (math.ceil(max(SIZE - window, 0) / stride) + 1) ** 2


@explainer("occlusion", signed=True, resample="none", passes=_passes, family="perturbation",
           source="Zeiler and Fergus 2014, section 4.2 (captum)")
def occlusion(
    model: nn.Module, batch: Batch, *, window: int = 32, stride: int = 16, fill: str = "mean",
    readout: str = "probability",
) -> Tensor:
    """How much the target's probability drops when a square window is replaced by the fill, averaged per position over
    the windows that cover it.

    window and stride are in positions of a 224 px image. readout is probability (as in the paper) or logit. Returns
    [B, H, W] float32. Raises VxpError for an unknown fill or readout, a window or stride below 1, and a stride above
    the window, which would leave positions uncovered.
    """
    from captum.attr import Occlusion  # not above: its import takes half a second

    check_at_least("occlusion", 1, stride=stride)
    check_at_least("occlusion", stride, window=window)
    check_one_of("occlusion", "readout", readout, READOUTS)
    C, H, W = batch.inputs.shape[1:]
    side, step = (_scaled(length, min(H, W)) for length in (window, stride))

    def read(inputs: Tensor) -> Tensor:
        logits: Tensor = model(inputs)
        return probabilities(model, logits) if readout == "probability" else logits.double()

    with evaluating(model):
        drops: Tensor = Occlusion(read).attribute(
            batch.inputs.detach(), sliding_window_shapes=(C, min(side, H), min(side, W)), strides=(C, step, step),
            baselines=batch.fill_image(fill).detach(), target=batch.targets,
            perturbations_per_eval=max(1, at_once(batch.space) // len(batch)),
        )
    # the window covers all channels at once, so that every channel holds the same number
    return drops.detach()[:, 0].float()


def _scaled(length: int, size: int) -> int:
    return max(1, round(length * size / SIZE))
