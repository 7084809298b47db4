"""Parts by how near they are to the middle."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer

from vxp_explainers._parts import KINDS, areas, parts, sums


@explainer("part-centre", signed=False, resample="none", target_specific=False, reference=True, passes=0, family="reference",
           kinds=KINDS, source="VXP 6.4.2")
def part_centre(model: nn.Module, batch: Batch) -> Tensor:
    """The parts of an image, each with 1 less the mean distance of its positions to the middle of the image, as a share of the
    distance of a corner.

    It knows nothing of the model: photographers put what counts in the middle. Returns regions [B, 2, H, W] float32. Raises
    VxpError for items without parts.
    """
    y, x = (torch.arange(n, dtype=torch.float64, device=batch.inputs.device) - (n - 1) / 2 for n in batch.space)
    away = (y[:, None].square() + x.square()).sqrt().flatten()
    return parts(batch, 1 - sums(batch, away) / areas(batch) / away.amax().clamp_min(1))
