"""What a model of classes says of the frames that an explanation rates highest, and of the others (Gkalelis et al. 2022).

Frames go by relevance, the largest first, ties by index. Those that go are left out of the clip, or what was last seen stands
in for them. Every function returns the values float64 [B] and, by code, bool [B] where a clip has none: the arguments of
`outcome`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vxp.core import Case, Held, Limits, Outcome, Readout, Request, outcome
from vxp.metrics._masked import SATURATED
from vxp.metrics._regions import falling
from vxp.metrics._time import alike, frame_relevance

Removal = Literal["hold", "remove"]
Shown = Literal["softmax", "sigmoid"]
Found = tuple[Tensor, dict[str, Tensor]]
FEW, ALIKE, NO_LABEL = "too-few-frames", "constant-groups", "no-label"
SOURCE = "Gkalelis, Daskalakis and Mezaris 2022, doi:10.1109/ACCESS.2022.3213652"
LIMITS: Limits = {"top": (1, None), "removal": ("hold", "remove")}
READOUTS = ("softmax", "sigmoid")
HELD = ("Under `removal:hold` the clip keeps its length and the last kept frame stands still: a model that reads motion sees "
        "less of it. The source leaves frames out, `removal:remove`.")


def relevance(case: Case) -> Tensor:
    """float64 [B, T]: of a map over the clip the positive relevance of every frame, of scores of parts that of its part."""
    if not case.kind.ragged:
        return frame_relevance(case)
    return case.map.double().flatten(2)[:, :, 0] if case.map.ndim > 2 else case.map.double()


def ordered(case: Case) -> Held:
    """The order in which frames go, by their relevance."""
    T = case.batch.space[0]
    return case.grouped("top-frames", lambda: falling(relevance(case)).repeat_interleave(case.batch.positions // T, dim=1))


def rows(case: Case, top: int, removal: Removal, readout: Readout, *, kept: bool = True) -> Request:
    """The clip, and the `top` first frames of it alone, or all but these."""
    T = case.batch.space[0]
    return case.removed_spans([(0, 0), (top, T) if kept else (0, top)], removal, readout=readout, order=ordered(case))


def shown(readout: Shown) -> Readout:
    """What is asked of the model for `probabilities`."""
    return "probability" if readout == "softmax" else "logit"


def probabilities(answer: Tensor, readout: Shown) -> tuple[Tensor, Tensor]:
    """Those of the targets, float64 [B] each, on both rows: models that are trained on several labels have `sigmoid`s, on one a
    `softmax`."""
    found = answer.double() if readout == "softmax" else answer.double().sigmoid()
    return found[:, 0], found[:, 1]


def average_drop(whole: Tensor, part: Tensor) -> Found:
    """Relative drop of the target's probability, max(0, Y - Y')/Y (Gkalelis et al. 2022, after Chattopadhay et al. 2018,
    eq. 16).

    Range [0, 1], lower is better. Undefined, `saturated`, where Y < 1e-12.
    """
    saturated = whole < SATURATED
    drop = (whole - part).clamp_min(0) / torch.where(saturated, torch.ones_like(whole), whole)
    return drop, {"saturated": saturated}


def increase(whole: Tensor, part: Tensor) -> Found:
    """Whether the target's probability is higher, [Y' > Y] (Gkalelis et al. 2022, after Chattopadhay et al. 2018, eq. 17).

    0 or 1, the mean over clips is their share, higher is better.
    """
    return torch.where(part.isnan() | whole.isnan(), torch.nan, (part > whole).double()), {}


def lost(chosen: Tensor, labels: Tensor) -> Found:
    """Accuracy on all frames less that on a part of them, of the predicted classes [B, 2] (Gkalelis et al. 2022; Yuan et al.
    2022 for graphs).

    A clip is right where the predicted class is one of its labels int64 [B, L], padded with -1. -1, 0 or 1 of a clip, the mean
    over clips is the score. Undefined, `no-label`, where no class counts as correct.
    """
    labels = labels.to(chosen.device)
    right = (chosen.nan_to_num(nan=-2)[:, :, None] == labels[:, None]).any(2).double()
    value = torch.where(chosen.isnan().any(1), torch.nan, right[:, 0] - right[:, 1])
    return value, {NO_LABEL: ~(labels >= 0).any(1)}


def judged(case: Case, found: Found) -> Outcome:
    """The outcome, where the frames rank."""
    values, undefined = found
    return outcome(values, {ALIKE: alike(relevance(case)), **undefined})


def without_rest(case: Case, top: int) -> Outcome | None:
    """The outcome of clips of which the top frames leave nothing out; None for those that are longer."""
    B, T = len(case.batch), case.batch.space[0]
    none = torch.full((B,), torch.nan, dtype=torch.float64)
    return None if top < T else outcome(none, {FEW: none.isnan()})


__all__ = ["ALIKE", "FEW", "HELD", "LIMITS", "NO_LABEL", "READOUTS", "SOURCE", "Found", "Removal", "Shown", "average_drop",
           "increase", "judged", "lost", "ordered", "probabilities", "relevance", "rows", "shown", "without_rest"]
