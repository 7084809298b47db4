"""Gradients averaged over noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, VxpError, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating
from vxp.random import key, normals

from vxp_explainers._common import check_at_least

PURPOSE = "smoothgrad@1"
STREAM = "noise"
MOST_CHANNELS = 4
"""A Philox draw has four words, one per channel."""


def _passes(*, samples: int, noise: float) -> int:
    return 2 * samples


@explainer("smoothgrad", signed=False, resample="none", needs=("gradients",), passes=_passes, family="gradient",
           kinds=MAPS, source="Smilkov et al. 2017, section 3 (captum's Saliency)")
def smoothgrad(model: nn.Module, batch: Batch, *, samples: int = 50, noise: float = 0.15) -> Tensor:
    """The gradient of the target's logit averaged over noisy inputs, then its absolute value, maximum over channels.

    noise is the standard deviation as a fraction of the item's own range max(x) - min(x), in the model's input space.
    Returns [B, *space] float32, at least 0. Raises VxpError for samples below 1, a negative noise and more than four
    input channels.

    Captum's NoiseTunnel is not used: it draws the noise of a whole batch from the global generator, so that a map would
    depend on its neighbours. Drawing keyed by item costs a few milliseconds and needs no generator to be forked.
    """
    from captum.attr import Saliency  # not above: its import takes half a second

    check_at_least("smoothgrad", 1, samples=samples)
    check_at_least("smoothgrad", 0, noise=noise)
    if batch.inputs.shape[1] > MOST_CHANNELS:
        raise VxpError(f"explainer 'smoothgrad' got inputs of {batch.inputs.shape[1]} channels, expected at most "
                       f"{MOST_CHANNELS}")
    inputs = batch.inputs.detach()
    flat = inputs.flatten(1)
    sigma = noise * (flat.amax(1) - flat.amin(1)).view(-1, *[1] * (inputs.ndim - 1))
    total = torch.zeros_like(inputs)
    with evaluating(model):
        method = Saliency(model)
        for draw in range(samples):
            noisy = (inputs + sigma * _noise(batch, draw)).requires_grad_()
            total += method.attribute(noisy, target=batch.targets, abs=False).detach()
    return (total / samples).abs().amax(1).float()


def _noise(batch: Batch, draw: int) -> Tensor:
    """Standard normal noise of one draw [B, C, H, W], keyed by item."""
    channels = batch.inputs.shape[1]
    noise = [normals(key(batch.seed, item, PURPOSE, STREAM), draw, batch.positions, channels,
                     device=batch.inputs.device) for item in batch.ids]
    return torch.stack(noise).view_as(batch.inputs)
