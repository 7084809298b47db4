"""What happens when a window in space and time is covered."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import READOUTS, check_at_least, check_one_of, rows
from vxp_explainers._removal import Say, saying

SIZE = 224
"""The side, in positions, at which window and stride are given; elsewhere they are scaled with the shorter side."""
FRAMES = 16
"""Of the clip whose passes are the nominal ones."""


def _passes(*, window: int, stride: int, frames: int, step: int, fill: str, readout: str) -> int:
    """One plain forward and one per place of the window in a square clip."""
    return 1 + len(_starts(SIZE, window, stride)) ** 2 * len(_starts(FRAMES, frames, step))


@explainer("st-occlusion", signed=True, resample="none", passes=_passes, family="perturbation", kinds=("heatmap3d",),
           source="Zeiler and Fergus 2014, section 4.2, with a window over frames")
@torch.no_grad()
def st_occlusion(
    model: nn.Module, batch: Batch, *, window: int = 32, stride: int = 16, frames: int = 2, step: int = 1, fill: str = "hold",
    readout: str = "probability",
) -> Tensor:
    """How much the target's probability drops when a window of some frames is replaced by the fill, averaged per position over
    the windows that cover it.

    window and stride are in positions of a frame of 224 px, as for `occlusion`; frames and step are those of the window in
    time. The last window of an axis ends with the axis. fill is any of clips: `hold` shows in the window what was last seen
    there. readout is probability or logit. Nominal passes are of 16 square frames. Returns [B, T, H, W] float32. Raises
    VxpError for an unknown fill or readout, a length below 1, and a stride or step above its window, which would leave
    positions uncovered.
    """
    check_at_least("st-occlusion", 1, stride=stride, step=step)
    check_at_least("st-occlusion", stride, window=window)
    check_at_least("st-occlusion", step, frames=frames)
    check_one_of("st-occlusion", "readout", readout, READOUTS)
    T, H, W = batch.space
    side, across = (max(1, round(length * min(H, W) / SIZE)) for length in (window, stride))
    lengths = (min(frames, T), min(side, H), min(side, W))
    starts = [_starts(size, length, by) for size, length, by in zip(batch.space, lengths, (step, across, across), strict=True)]
    windows = [tuple(slice(s, s + n) for s, n in zip(place, lengths, strict=True)) for place in product(*starts)]
    with evaluating(model):
        say = saying(model, batch, fill, readout)
        return torch.stack([_drops(say, i, windows, batch) for i in range(len(batch))])


def _starts(size: int, length: int, by: int) -> list[int]:
    """Where windows of this length begin on an axis of this size, so that they cover it."""
    last = max(size - length, 0)
    return [min(k * by, last) for k in range(math.ceil(last / by) + 1)]


def _drops(say: Say, i: int, windows: list[tuple[slice, ...]], batch: Batch) -> Tensor:
    """float32 [T, H, W] of one item: the mean drop of the windows that cover each position."""
    device = batch.inputs.device
    whole = say(i, torch.zeros(1, 1, 1, 1, dtype=torch.bool, device=device))
    total = torch.zeros(batch.space, dtype=torch.float64, device=device)
    count = torch.zeros_like(total)
    for part in rows(len(windows), batch.space):
        covered = torch.zeros(len(windows[part]), *batch.space, dtype=torch.bool, device=device)
        for row, where in zip(covered, windows[part], strict=True):
            row[where] = True
        total += torch.einsum("n,nthw->thw", whole - say(i, covered), covered.double())
        count += covered.sum(0)
    return (total / count).float()
