"""The photographer's bias: what matters is in the middle."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn
from vxp import outputs
from vxp.core import Batch, explainer
from vxp.core.case import means_of_parts
from vxp.kinds import MAPS, TEMPORAL

from vxp_explainers._common import check_at_least, fragments


@explainer("centre-gaussian", signed=False, resample="none", target_specific=False, reference=True, passes=0,
           family="reference", kinds=(*MAPS, TEMPORAL.id), outputs=outputs.IDS, explanandum="rank-order", source="VXP 6.4.2")
def centre_gaussian(model: nn.Module, batch: Batch, *, sigma: float = 0.25) -> Tensor:
    """A Gaussian around the centre of the image, its peak 1, its sigma along each side a fraction of that side; of a clip in
    time as well. Of a video whose steps are scored it is one of time, at the middle of every fragment's steps.

    Strong by construction where objects are photographed in the middle: pointing game, gaze, one blob to keep or remove.
    Returns [B, *space] float32 in (0, 1], the same map for every item, or [B, S] of fragments. The model is not called. Raises
    VxpError for a sigma below 0.01, and for sequences that are not divided into fragments.
    """
    check_at_least("centre-gaussian", 0.01, sigma=sigma)
    of = fragments(model, batch)
    if of is not None:
        steps = torch.arange(batch.space[0], device=of.device, dtype=torch.float64).expand(of.shape)
        return _at(means_of_parts(steps, of).float(), batch.space[0], sigma * batch.space[0])
    bells = [_bell(size, sigma * size, batch.inputs.device) for size in batch.space]
    map = reduce(lambda found, bell: found[..., None] * bell, bells)
    return map.expand(len(batch), *batch.space).clone()


def _bell(size: int, sigma: float, device: torch.device) -> Tensor:
    return _at(torch.arange(size, device=device, dtype=torch.float32), size, sigma)


def _at(places: Tensor, size: int, sigma: float) -> Tensor:
    offset = places - (size - 1) / 2
    return torch.exp(-0.5 * (offset / sigma) ** 2)
