"""Models that give a score to every step of a sequence: video summarisers, on features or on frames."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vxp.catalogue import nearest
from vxp.core import VxpError
from vxp.outputs import Says

Layout = Literal["btd", "bdt", "td", "bcthw", "btchw"]
LAYOUTS: tuple[Layout, ...] = ("btd", "bdt", "td", "bcthw", "btchw")


class Scorer(Says):
    """A module that scores steps, as one that takes features [B, D, n], or clips [B, C, T, H, W], and returns scores [B, n].

    layout: the axes that the module takes, of features batch, steps in time and features per step (`btd`), in another order
    (`bdt`) or without a batch (`td`), of frames `bcthw` or `btchw`. What it returns may have a last axis of one, and may be the
    first of several things, as of summarisers that also return their attention.
    """

    says = "sequence"

    def __init__(self, model: nn.Module, layout: Layout = "btd") -> None:
        super().__init__()
        if layout not in LAYOUTS:
            raise VxpError(f"no layout is called {layout!r}{nearest(layout, LAYOUTS)}; expected one of {', '.join(LAYOUTS)}")
        self.model, self.layout = model, layout

    def forward(self, inputs: Tensor) -> Tensor:
        if self.layout == "td":
            return torch.stack([_first(self.model(one.transpose(0, 1))).reshape(-1) for one in inputs])
        found = _first(self.model(inputs if self.layout in ("bdt", "bcthw") else inputs.transpose(1, 2)))
        return found[..., 0] if found.ndim == 3 and found.shape[2] == 1 else found


def _first(found: object) -> Tensor:
    """The scores, where a module returns more than them."""
    while isinstance(found, tuple | list) and found:
        found = found[0]
    if not isinstance(found, Tensor):
        raise VxpError(f"the model returned a {type(found).__name__}, expected scores [B, n], one per step, or a tuple that "
                       "begins with them")
    return found


def frame_scores(model: nn.Module, layout: Layout = "btd") -> nn.Module:
    """A model that gives a score to every frame of a video, such as a summariser, so that VXP knows it is no classifier.

    It takes features [B, n, D] of n frames; layout says where it takes another order of axes: `bdt`, `td` (one video, without a
    batch), or frames themselves, `bcthw` or `btchw`. VXP hands it features as [B, D, n] and clips as [B, C, T, H, W].
    """
    return Scorer(model, layout)


__all__ = ["LAYOUTS", "Layout", "Scorer", "frame_scores"]
