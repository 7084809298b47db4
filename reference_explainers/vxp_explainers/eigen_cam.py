"""The strongest common pattern of a layer's channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import cam_layer, features


@explainer("eigen-cam", signed=False, resample="bilinear", target_specific=False, needs=("activations", "layer"), passes=1,
           family="cam", source="Muhammad and Yeasin 2020, eq. 1 and 2")
def eigen_cam(model: nn.Module, batch: Batch, *, layer: str | None = None) -> Tensor:
    """The layer's output, positions x channels, projected on its first right singular vector; it does not know the class.

    The sign of a singular vector is free: it is taken so that the projections sum to 0 or more, and what is then negative
    is cut off. Nothing is centred, as in the paper. Returns [B, h, w] float32 on the layer's grid, at least 0. Raises
    VxpError for a layer that is unknown, not used or without spatial output.
    """
    with evaluating(model):
        name, module = cam_layer(model, batch, layer)
        activation = features(model, name, module, batch)
    b, c, h, w = activation.shape
    flat = activation.permute(0, 2, 3, 1).reshape(b, h * w, c)
    # item by item: a decomposition of a batch need not give each the same bits as alone
    projected = torch.stack([item @ torch.linalg.svd(item, full_matrices=False).Vh[0] for item in flat])
    towards = torch.where(projected.sum(1, keepdim=True) < 0, -1.0, 1.0)
    return (towards * projected).relu().view(b, h, w).float()
