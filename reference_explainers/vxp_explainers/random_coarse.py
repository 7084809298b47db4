"""A floor for smooth maps: large blobs that know nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp import outputs
from vxp.core import Batch, explainer
from vxp.random import key, uniforms

PURPOSE = "random-coarse@1"
STREAM = "map"
SIDE = 4
"""Rows and columns of the grid."""


@explainer("random-coarse", signed=False, resample="trilinear", target_specific=False, reference=True, passes=0,
           family="reference", kinds=("heatmap3d",), outputs=outputs.IDS, source="VXP 6.4.2")
def random_coarse(model: nn.Module, batch: Batch) -> Tensor:
    """An independent uniform number per cell of a grid of half the frames, rounded up, and 4 x 4 cells, keyed by the item.

    White noise removes every part of a clip at once; the maps of most methods are smooth, and this is the noise to compare
    them with. Returns [B, t, 4, 4] float32 in [0, 1). The model is not called.
    """
    grid = (-(-batch.space[0] // 2), SIDE, SIDE)
    maps = [uniforms(key(batch.seed, item, PURPOSE, STREAM), 0, grid[0] * SIDE * SIDE, device=batch.inputs.device)
            for item in batch.ids]
    return torch.stack(maps).view(len(batch), *grid)
