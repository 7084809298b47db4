"""The ceiling: an order that knows where the object is, and how deep inside it every position lies."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.kinds import MAPS

from vxp_explainers._common import truth_of


@explainer("oracle", signed=True, resample="none", needs=("truth",), reference=True, passes=0, family="reference",
           kinds=MAPS, source="VXP 6.4.2")
def oracle(model: nn.Module, batch: Batch) -> Tensor:
    """The signed distance to the border of the target's truth: its mask, or else the cells that it is in.

    Inside, the distance in pixels to the nearest position outside; outside, minus the distance to the nearest one inside;
    1 or 0 everywhere where the truth is full or empty, and has no border. So every position inside ranks before every one
    outside, the deepest first. Returns [B, *space] float32. The model is not called. Raises VxpError where the batch has no
    such truth.
    """
    maps = [_signed_distance(inside) for inside in truth_of("oracle", batch).cpu().numpy()]
    return torch.from_numpy(np.stack(maps)).to(batch.inputs.device)


def _signed_distance(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    if inside.all() or not inside.any():
        return inside.astype(np.float32)
    # one of the two is 0 everywhere; the image's edge is no border: only positions of the grid are measured to
    found: NDArray[np.float64] = distance_transform_edt(inside) - distance_transform_edt(~inside)
    return found.astype(np.float32)
