"""The ceiling of parts: what the target loses without each."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import READOUTS, check_one_of
from vxp_explainers._parts import KINDS, losses, parts

PARTS = 6
"""Of the item whose passes are the nominal ones."""


@explainer("part-drop", signed=True, resample="none", needs=("truth",), reference=True, passes=PARTS + 1, family="reference",
           kinds=KINDS, source="VXP 6.4.2; Hesse, Schaub-Meyer and Roth 2023, arXiv:2308.06248")
@torch.no_grad()
def part_drop(model: nn.Module, batch: Batch, *, readout: str = "logit") -> Tensor:
    """The parts of an image, each with what the target's logit, or probability, loses without it, by the rendering of the item
    without that part.

    It repeats what `part-deletion` measures, so that it has 1 there. Returns regions [B, 2, H, W] float32. Raises
    VxpError for an unknown readout, for items without parts, and where the truth `without` is not there.
    """
    check_one_of("part-drop", "readout", readout, READOUTS)
    with evaluating(model):
        return parts(batch, losses("part-drop", model, batch, readout))
