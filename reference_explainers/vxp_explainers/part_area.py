"""Parts by their size: what explains nothing and gathers much."""

from __future__ import annotations

from torch import Tensor, nn
from vxp.core import Batch, explainer

from vxp_explainers._parts import KINDS, areas, parts


@explainer("part-area", signed=False, resample="none", target_specific=False, reference=True, passes=0, family="reference",
           kinds=KINDS, source="VXP 6.4.2")
def part_area(model: nn.Module, batch: Batch) -> Tensor:
    """The parts of an image, each with the share of the positions that it takes.

    It knows nothing of the model. A score that it does well in rewards large parts. Returns regions [B, 2, H, W] float32.
    Raises VxpError for items without parts.
    """
    return parts(batch, areas(batch) / batch.positions)
