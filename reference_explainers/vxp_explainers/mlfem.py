"""FEM over several layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp import models
from vxp.core import Batch, explainer
from vxp.core.perturb import minmax
from vxp.models import evaluating

from vxp_explainers._common import check_at_least, check_one_of, observed
from vxp_explainers.fem import feature_map

FUSIONS = ("mean", "max", "product")


@explainer("mlfem", signed=False, resample="bilinear", target_specific=False, needs=("activations", "layer"), passes=1,
           family="cam", source="after Bourroux et al. 2022; the rule of fusion is ours")
@torch.no_grad()
def mlfem(model: nn.Module, batch: Batch, *, layers: str | None = None, grids: int = 3, k: float = 2.0,
          fusion: str = "mean") -> Tensor:
    """FEM maps of several layers, each min-maxed, brought to the finest of their grids and fused.

    layers: dotted module names joined by +; by default the last layer of each of the coarsest `grids` grids. The text of
    the method leaves the fusion open: `mean`, `max` or `product` over layers, position by position. Upsampling is bilinear,
    align_corners=False. A map with one value everywhere counts as 0. Returns [B, h, w] float32 on the finest grid, in
    [0, 1]. Raises VxpError for unknown layers and fusions, and for layers without spatial output.
    """
    check_one_of("mlfem", "fusion", fusion, FUSIONS)
    check_at_least("mlfem", 0, k=k)
    check_at_least("mlfem", 1, grids=grids)
    with evaluating(model):
        names = str(layers).split("+") if layers is not None else models.spatial_layers(model, batch.inputs[:1])[-grids:]
        _, found, _ = observed(model, names, batch)
    maps = [minmax(feature_map(a.double(), k).relu()) for a in found]
    size = max((m.shape[1:] for m in maps), key=lambda shape: shape[0] * shape[1])
    large = torch.stack([F.interpolate(m[:, None], size=size, mode="bilinear", align_corners=False)[:, 0] for m in maps])
    fused = large.mean(0) if fusion == "mean" else large.amax(0) if fusion == "max" else large.prod(0)
    return fused.float()
