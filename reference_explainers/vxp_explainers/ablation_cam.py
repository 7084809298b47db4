"""Class activation mapping by switching channels off."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import cam_layer, check_at_least, features, gridded, rows

NOMINAL_CHANNELS = 512
"""Channels that the budget counts with where all are used: their number is the model's (VGG-16 has 512)."""


def _passes(*, layer: str | None, channels: int) -> int:
    return 2 + (channels or NOMINAL_CHANNELS)  # the features, and the whole beside those without


@explainer("ablation-cam", signed=False, resample="bilinear", needs=("activations", "layer"), passes=_passes, family="cam",
           source="Desai and Ramaswamy 2020, eq. 2 and 3")
@torch.no_grad()
def ablation_cam(model: nn.Module, batch: Batch, *, layer: str | None = None, channels: int = 0) -> Tensor:
    """The positive part of the layer's channels, each weighted by the share of the target's logit that is lost without it:
    (y - y_k)/y, y_k the logit with channel k set to 0.

    The paper divides by y, which turns the map's sign where y is negative; here by |y|, the same for positive logits. Of
    a transformer's tokens only the patches are ablated, not the class token. channels: 0 for all, else only that many of
    the largest variance, to save forwards. Channels that are 0 everywhere change nothing and are skipped. Returns
    [B, h, w] float32 on the layer's grid, at least 0. Raises VxpError for an unknown layer and for negative channels.
    """
    check_at_least("ablation-cam", 0, channels=channels)
    with evaluating(model):
        name, module = cam_layer(model, batch, layer)
        activation = features(model, name, module, batch)
        maps = [_map(model, name, module, batch.select([i]), activation[i], channels) for i in range(len(batch))]
    return torch.stack(maps)


def _map(model: nn.Module, name: str, module: nn.Module, item: Batch, activation: Tensor, channels: int) -> Tensor:
    flat = activation.flatten(1)
    used = flat.any(1).nonzero()[:, 0]
    if channels and channels < len(used):
        used = used[flat[used].var(1).argsort(descending=True, stable=True)[:channels]]
    whole, last = _logits(model, name, module, item, [])
    parts = [_logits(model, name, module, item, used[part].tolist(), last)[0] for part in rows(len(used), item.space)]
    without = torch.cat(parts) if parts else whole.new_zeros(0)
    weights = (whole - without) / whole.abs().clamp_min(torch.finfo(torch.float64).tiny)
    return torch.einsum("c,chw->hw", weights, activation[used]).relu().float()


def _logits(
    model: nn.Module, name: str, module: nn.Module, item: Batch, channels: list[int], last: int = 0,
) -> tuple[Tensor, int]:
    """The target's logit, float64, with one channel at a time set to 0, or of the item as it is where none is named; and
    how often the module was used. A module that is used more than once is the layer at its last use."""
    uses = 0

    def ablate(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor | None:
        nonlocal uses
        uses += 1
        if uses != last:
            return None
        changed = output.clone()
        for row, channel in enumerate(channels):
            gridded(model, name, changed[row:row + 1], item)[:, channel] = 0
        return changed

    handle = module.register_forward_hook(ablate)
    try:
        logits: Tensor = model(item.inputs.detach().expand(max(len(channels), 1), -1, -1, -1))
        return logits[:, item.targets[0]].double(), uses
    finally:
        handle.remove()
