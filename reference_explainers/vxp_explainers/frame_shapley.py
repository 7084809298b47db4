"""Shapley values of frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating
from vxp.random import key, uniforms

from vxp_explainers._coalitions import every, shapley
from vxp_explainers._common import READOUTS, check_at_least, check_one_of
from vxp_explainers._removal import Say, saying

PURPOSE = "frame-shapley@1"
EXACT = 8
"""The most frames of which all coalitions are asked: 256."""
FRAMES = 16
"""Of the clip whose passes are the nominal ones."""


def _passes(*, pairs: int, fill: str, readout: str) -> int:
    return 2 + 2 * pairs * (FRAMES - 1)


@explainer("frame-shapley", signed=True, resample="frames", passes=_passes, family="perturbation", kinds=("heatmap3d",),
           source="Price and Damen 2020 (Play Fair); orders and their reverses by Mitchell et al. 2022")
@torch.no_grad()
def frame_shapley(
    model: nn.Module, batch: Batch, *, pairs: int = 16, fill: str = "hold", readout: str = "probability",
) -> Tensor:
    """Shapley values of frames for the target's probability: what a frame adds when it is shown and not replaced by the fill,
    averaged over all orders in which the frames may come.

    Of clips of up to 8 frames all coalitions are asked, and the values are exact. Of longer ones so many pairs of orders are
    drawn per item, a random one and its reverse; an order costs T - 1 passes. Either way the values sum to what the clip says
    less what the fill says. fill is any of clips: where every frame is gone, `hold` shows the mean of the model's
    preprocessing. readout is probability or logit. Returns [B, T, 1, 1] float32, one value for all of a frame. Raises VxpError
    for an unknown fill or readout and pairs below 1.

    Departs from the paper: there the frames that are left make a shorter clip, for a model of any length; here they stand where
    they stood and the others are filled, so that any model of clips can be asked.
    """
    check_at_least("frame-shapley", 1, pairs=pairs)
    check_one_of("frame-shapley", "readout", readout, READOUTS)
    T = batch.space[0]
    with evaluating(model):
        say = saying(model, batch, fill, readout)
        values = [_exact(say, i, T, batch.inputs.device) if T <= EXACT else _sampled(say, batch, i, pairs)
                  for i in range(len(batch))]
    return torch.stack(values).float()[:, :, None, None]


def _exact(say: Say, i: int, T: int, device: torch.device) -> Tensor:
    """float64 [T]: by the definition, over all coalitions of frames that are shown."""
    return shapley(say(i, ~every(T, device)[:, :, None, None]), T)


def _sampled(say: Say, batch: Batch, i: int, pairs: int) -> Tensor:
    """float64 [T]: the mean over orders of what each frame adds to those before it."""
    T, device = batch.space[0], batch.inputs.device
    drawn = uniforms(key(batch.seed, batch.ids[i], PURPOSE, "orders"), 0, pairs * T, device=device).view(pairs, T)
    order = drawn.argsort(dim=1, stable=True)  # order p is by the positions p*T to p*T + T - 1 of the draw
    orders = torch.cat([order, order.flip(1)])
    place = orders.argsort(dim=1)
    steps = torch.arange(1, T, device=device)
    between = (place[:, None] >= steps[:, None]).flatten(0, 1)  # removed after 1, ..., T - 1 frames have come
    ends = torch.tensor([[True], [False]], device=device).expand(2, T)
    said = say(i, torch.cat([ends, between])[:, :, None, None])
    none, whole = said[:2].expand(len(orders), 2)[:, :, None].unbind(1)
    added = torch.cat([none, said[2:].view(len(orders), T - 1), whole], 1).diff(dim=1)
    return added.gather(1, place).mean(0)
