"""Models that give a score to every step of a sequence: video summarisers, on features or on frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from vxp.catalogue import nearest
from vxp.core import VxpError
from vxp.models.clips import ByFrames
from vxp.outputs import Says

Layout = Literal["btd", "bdt", "td", "bcthw", "btchw"]
LAYOUTS: tuple[Layout, ...] = ("btd", "bdt", "td", "bcthw", "btchw")
ROUNDING = 1e-3
"""How far from 1 a row of attention may sum."""


class Scorer(Says):
    """A module that scores steps, as one that takes features [B, D, n], or clips [B, C, T, H, W], and returns scores [B, n].

    layout: the axes that the module takes, of features batch, steps in time and features per step (`btd`), in another order
    (`bdt`) or without a batch (`td`), of frames `bcthw` or `btchw`. What it returns may have a last axis of one, and may be the
    first of several things, as of summarisers that also return their attention. Explainers of attention call two methods of the
    module where it has them: `attention(features) -> [B, n, n]`, and `attended(features, attention)`, its scores with another
    attention.
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
        found = _first(self.model(self._laid(inputs)))
        return found[..., 0] if found.ndim == 3 and found.shape[2] == 1 else found

    def attention(self, inputs: Tensor) -> Tensor:
        """How much every step (row) attends to every step (column), [B, n, n], rows summing to 1, of inputs as in `forward`.

        It is what the module's own method `attention` returns of what the module takes. VxpError where it has no such method,
        or returns something else.
        """
        made = self._own("attention", "attention(features) -> [B, n, n]")
        found = (torch.stack([made(one.transpose(0, 1)) for one in inputs]) if self.layout == "td"
                 else made(self._laid(inputs)))
        n = inputs.shape[2]
        if not isinstance(found, Tensor) or tuple(found.shape) != (len(inputs), n, n):
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise VxpError(f"the model's `attention` returned {got} for {len(inputs)} inputs of {n} steps, expected a tensor "
                           f"[{len(inputs)}, {n}, {n}]: a row for every step, averaged over heads")
        sums = found.detach().double().sum(2)
        if bool(((sums - 1).abs() >= ROUNDING).any()):  # what is not finite is the item's fault
            raise VxpError(f"rows of the model's `attention` sum to {float(sums.min()):.4g} up to {float(sums.max()):.4g}, "
                           "expected 1: return it after the softmax, the steps that attend in rows")
        return found

    def attended(self, inputs: Tensor, attention: Tensor) -> Tensor:
        """The scores [B, n] of inputs as in `forward`, with this attention [B, n, n] in place of the module's own.

        It is what the module's own method `attended` returns; VxpError where it has none.
        """
        made = self._own("attended", "attended(features, attention) -> scores")
        found: Tensor = (torch.stack([made(one.transpose(0, 1), rows) for one, rows in zip(inputs, attention, strict=True)])
                         if self.layout == "td" else made(self._laid(inputs), attention))
        return found

    def _laid(self, inputs: Tensor) -> Tensor:
        return inputs if self.layout in ("bdt", "bcthw") else inputs.transpose(1, 2)

    def _own(self, name: str, form: str) -> Callable[..., Tensor]:
        """A method of the module; VxpError where it has none."""
        found = getattr(self.model, name, None)
        if not callable(found):
            raise VxpError(f"the model {type(self.model).__name__} has no method `{name}`, which is asked for: give it "
                           f"{form}, or leave out what reads attention")
        method: Callable[..., Tensor] = found
        return method


class FrameScorer(Says, ByFrames):
    """A model that scores the frames of clips [B, C, T, H, W] by features of each: `features` maps frames [N, C, H, W] to
    features [N, D], and `scorer` features of clips, [B, D, T], to scores [B, T]."""

    says = "sequence"

    def __init__(self, features: nn.Module, scorer: nn.Module) -> None:
        super().__init__()
        self.features, self.scorer = features, scorer

    @property
    def by_frame(self) -> nn.Module:
        return self.features

    def fused(self, vectors: Tensor) -> Tensor:
        scores: Tensor = self.scorer(vectors.transpose(1, 2))
        return scores


class LastFeatures(nn.Module):
    """What a model of images sees before its last linear layer: images [N, C, H, W] to features [N, D]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        seen: list[Tensor] = []
        layers = [layer for layer in self.model.modules() if isinstance(layer, nn.Linear)]
        # not detached, as `last_linear_input` gives them: gradients go through
        handles = [layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].flatten(1))) for layer in layers[-1:]]
        try:
            self.model(images)
        finally:
            for handle in handles:
                handle.remove()
        if not seen or len(seen[0]) != len(images):
            raise VxpError(f"the model {type(self.model).__name__} has no linear layer that sees one vector per image, so it "
                           "gives no features: choose another")
        return seen[0]


def _first(found: object) -> Tensor:
    """The scores, where a module returns more than them."""
    while isinstance(found, tuple | list) and found:
        found = found[0]
    if not isinstance(found, Tensor):
        raise VxpError(f"the model returned a {type(found).__name__}, expected scores [B, n], one per step, or a tuple that "
                       "begins with them")
    return found


def frame_scores(model: nn.Module, layout: Layout = "btd", features: nn.Module | None = None) -> nn.Module:
    """A model that gives a score to every frame of a video, such as a summariser, so that VXP knows it is no classifier.

    It takes features [B, n, D] of n frames; layout says where it takes another order of axes: `bdt`, `td` (one video, without a
    batch), or frames themselves, `bcthw` or `btchw`. VXP hands it features as [B, D, n] and clips as [B, C, T, H, W].

    features: a module that maps frames [N, C, H, W] to features [N, D]; then the whole takes clips, and where part of a clip
    changes only the frames that do are looked at again.
    """
    scorer = Scorer(model, layout)
    if features is None:
        return scorer
    if layout in ("bcthw", "btchw"):
        raise VxpError(f"got features, and the layout {layout!r}, which takes frames themselves: expected btd, bdt or td")
    return FrameScorer(features, scorer)


__all__ = ["LAYOUTS", "FrameScorer", "LastFeatures", "Layout", "Scorer", "frame_scores"]
