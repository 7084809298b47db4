"""What a model of classes says of the frames that an explanation rates highest, and of the others (Gkalelis et al. 2022).

`predicted` maps bool [B, R, T], the frames that each of R rows keeps, to logits [B, R, K]: the caller leaves the others out, or
lets something take their place. Frames go by weight, the largest first, ties by index.

Every function returns the values float64 [B] and, by code, bool [B] where a clip has none: the arguments of `outcome`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vxp.metrics._masked import SATURATED
from vxp.metrics._regions import falling

Predicted = Callable[[Tensor], Tensor]
Readout = Literal["softmax", "sigmoid"]
Found = tuple[Tensor, dict[str, Tensor]]
FEW, NO_LABEL = "too-few-frames", "no-label"


@dataclass(frozen=True, eq=False)
class Frames:
    """Explained clips: weights [B, T] of their frames, the explained classes int64 [B], and the model's logits without frames.

    labels bool [B, K]: the classes that count as correct.
    """

    weights: Tensor
    targets: Tensor
    predicted: Predicted
    labels: Tensor | None = None

    def logits(self, top: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of all frames, of the `top` first alone and of the rest, float64 [B, K] each."""
        kept = falling(self.weights) < top
        rows = torch.stack([torch.ones_like(kept), kept, ~kept], 1)
        whole, first, rest = self.predicted(rows).double().unbind(1)
        return whole, first, rest

    def few(self, top: int) -> Tensor:
        """bool [B]: whether nothing is left beside the top frames."""
        return torch.full((len(self.weights),), not 0 < top < self.weights.shape[1])

    def probabilities(self, logits: Tensor, readout: Readout) -> Tensor:
        """Those of the targets, [B]: the models of events are trained on several labels by `sigmoid`, of one by `softmax`."""
        every = logits.softmax(1) if readout == "softmax" else logits.sigmoid()
        return every.gather(1, self.targets[:, None].to(every.device))[:, 0]


def top_p_average_drop(clips: Frames, *, top: int, readout: Readout = "softmax") -> Found:
    """Relative drop of the target's probability on the `top` frames alone, max(0, Y - Y')/Y (Gkalelis et al. 2022, after
    Chattopadhay et al. 2018, eq. 16).

    Range [0, 1], lower is better. Undefined, `too-few-frames`, where no frame is left out; `saturated` where Y < 1e-12.
    """
    whole, first, _ = (clips.probabilities(logits, readout) for logits in clips.logits(top))
    saturated = whole < SATURATED
    drop = (whole - first).clamp_min(0) / torch.where(saturated, torch.ones_like(whole), whole)
    return drop, {FEW: clips.few(top), "saturated": saturated}


def top_p_increase(clips: Frames, *, top: int, readout: Readout = "softmax") -> Found:
    """Whether the target's probability is higher on the `top` frames alone, [Y' > Y] (Gkalelis et al. 2022, after Chattopadhay
    et al. 2018, eq. 17).

    0 or 1, the mean over clips is their share, higher is better. Undefined, `too-few-frames`, where no frame is left out.
    """
    whole, first, _ = (clips.probabilities(logits, readout) for logits in clips.logits(top))
    return torch.where(first.isnan() | whole.isnan(), torch.nan, (first > whole).double()), {FEW: clips.few(top)}


def fidelity_minus(clips: Frames, *, top: int) -> Found:
    """Accuracy on all frames less that on the `top` frames alone (Gkalelis et al. 2022; Yuan et al. 2022 for graphs).

    A clip is right where the highest logit is that of one of its labels. -1, 0 or 1 of a clip, the mean over clips is the
    score; lower is better. Undefined, `no-label`, where no class counts as correct; `too-few-frames` where no frame is left
    out.
    """
    whole, first, _ = clips.logits(top)
    return _lost(clips, whole, first, top)


def fidelity_plus(clips: Frames, *, top: int) -> Found:
    """Accuracy on all frames less that without the `top` frames (Gkalelis et al. 2022; Yuan et al. 2022 for graphs).

    As `fidelity_minus`, but higher is better.
    """
    whole, _, rest = clips.logits(top)
    return _lost(clips, whole, rest, top)


def _lost(clips: Frames, whole: Tensor, part: Tensor, top: int) -> Found:
    labels = torch.zeros_like(whole, dtype=torch.bool) if clips.labels is None else clips.labels.to(whole.device)
    before, after = (labels.gather(1, logits.argmax(1, keepdim=True))[:, 0].double() for logits in (whole, part))
    lost = torch.where((whole + part).sum(1).isnan(), torch.nan, before - after)
    return lost, {NO_LABEL: ~labels.any(1), FEW: clips.few(top)}


__all__ = ["FEW", "NO_LABEL", "Frames", "fidelity_minus", "fidelity_plus", "top_p_average_drop", "top_p_increase"]
