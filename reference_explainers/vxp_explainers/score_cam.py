"""Class activation mapping without gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import blended, cam_layer, check_at_least, check_one_of, features, probabilities, rows

WEIGHTS = ("channel-softmax", "probability")
NOMINAL_CHANNELS = 512
"""Channels that the budget counts with where all are used: their number is the model's (VGG-16 has 512)."""


def _passes(*, layer: str | None, channels: int, weights: str, fill: str) -> int:
    return 1 + (channels or NOMINAL_CHANNELS)


@explainer("score-cam", signed=False, resample="bilinear", needs=("activations", "layer"), passes=_passes,
           family="cam", source="Wang et al. 2020, algorithm 1")
@torch.no_grad()
def score_cam(
    model: nn.Module, batch: Batch, *, layer: str | None = None, channels: int = 0, weights: str = "channel-softmax",
    fill: str = "mean",
) -> Tensor:
    """The positive part of the layer's channels, each weighted by what the model says of the input masked by it.

    A channel is upsampled to the input grid (bilinear), min-maxed, and multiplies the input; where it is 0 the input is
    replaced by the fill, the preprocessing mean as in the authors' code. weights: `channel-softmax` is the paper's
    algorithm 1, the softmax over channels of the target's logits (its baseline logit is the same for all channels, so
    that it cancels); `probability` is the authors' code, the target's softmax probability as it stands. channels: 0 for
    all, else only that many of the largest variance, to save forwards. Channels with one value everywhere are skipped.
    Returns [B, h, w] float32 on the layer's grid, at least 0. Raises VxpError for an unknown layer, weights or fill.
    """
    check_one_of("score-cam", "weights", weights, WEIGHTS)
    check_at_least("score-cam", 0, channels=channels)
    with evaluating(model):
        name, module = cam_layer(model, batch, layer)
        activation = features(model, name, module, batch)
        fills = batch.fill_image(fill)
        maps = [_map(model, batch.inputs[i], fills[i], int(batch.targets[i]), _chosen(activation[i], channels), weights)
                for i in range(len(batch))]
    return torch.stack(maps)


def _chosen(activation: Tensor, channels: int) -> Tensor:
    """The channels [C', h, w] of one item that are not constant, if asked only those of the largest variance."""
    flat = activation.float().flatten(1)
    varied = activation[flat.amax(1) != flat.amin(1)].float()  # NaN counts as varied, and shows in the map
    if not channels or channels >= len(varied):
        return varied
    largest = varied.flatten(1).var(1).argsort(descending=True, stable=True)[:channels]
    return varied[largest]


def _map(model: nn.Module, inputs: Tensor, fill: Tensor, target: int, activation: Tensor, weights: str) -> Tensor:
    if not len(activation):
        return activation.new_zeros(activation.shape[1:])
    scores = torch.cat([_scores(model, inputs, fill, target, activation[part], weights)
                        for part in rows(len(activation), inputs.shape[1:])])
    alpha = scores.softmax(0) if weights == "channel-softmax" else scores
    return torch.einsum("c,chw->hw", alpha, activation.double()).relu().float()


def _scores(model: nn.Module, inputs: Tensor, fill: Tensor, target: int, activation: Tensor, weights: str) -> Tensor:
    """float64 [C']: the target's logit or probability of one item masked by each channel."""
    masks = F.interpolate(activation[:, None], size=inputs.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    low, high = (edge.view(-1, 1, 1) for edge in masks.flatten(1).aminmax(dim=1))
    logits = model(blended(inputs, fill, (masks - low) / (high - low)))
    return (probabilities(model, logits) if weights == "probability" else logits.double())[:, target]
