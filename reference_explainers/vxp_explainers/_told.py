"""What explanations in words tell of: the shots of a video with their times and what they are seen as, and the parts of an
image; and what is causal by removal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from vxp import models
from vxp.core import Batch, VxpError
from vxp.documents.shots import Segments
from vxp.documents.words import Words
from vxp.media import SEQUENCE
from vxp.metrics._claims import WITHOUT, Removal, part_names
from vxp.models import evaluating

from vxp_explainers import _sentences
from vxp_explainers._common import check_at_least, check_one_of
from vxp_explainers._parts import losses_of
from vxp_explainers.leave_one_out import leave_one_out

NAMED_BY = ("none", "efficientnet-lite0")
"""Who names what a shot is seen as: nobody, or the classifier that made the features."""
PARTS = 10
"""Of the item whose passes are the nominal ones."""


@dataclass(frozen=True, eq=False)
class Item:
    """What can be told of an item: how many parts it has, and the words that name some of them as what counts, in this
    order."""

    parts: int
    words: Callable[[Sequence[int]], Words]


def items(batch: Batch, names: str = "none") -> list[Item]:
    """The items of a batch: videos whose features are given and which are divided into fragments, and images of which the truth
    `without` shows the parts. VxpError for others."""
    if batch.medium is not SEQUENCE:
        parts = part_names(batch.concepts, batch.truth.get(WITHOUT))
        return [Item(len(parts), lambda named: _sentences.of_parts([parts[k] for k in named]))] * len(batch)
    return [Item(len(segments), lambda named, of=(segments, fps, shows): _sentences.of_shots(named, *of))  # type: ignore[misc]
            for segments, fps, shows in videos(batch, names)]


def videos(batch: Batch, names: str = "none") -> list[tuple[Segments, float | None, tuple[str, ...]]]:
    """Of every video its fragments, ranges of frames, the frames per second where they are known, and what each fragment is
    seen as, where it is named."""
    check_one_of("explanations in words", "names", names, NAMED_BY)
    of = batch.parts_of("fragment")
    segments = _ranges(of) if batch.segments is None else batch.segments
    rates = [math.nan] * len(batch) if batch.rates is None else batch.rates.tolist()
    shows = [()] * len(batch) if names == "none" else [looks(x, parts) for x, parts in zip(batch.inputs, of, strict=True)]
    return [(tuple((start, end) for start, end in some), None if math.isnan(rate) else rate, said)
            for some, rate, said in zip(segments.tolist(), rates, shows, strict=True)]


def _ranges(of: Tensor) -> Tensor:
    """The fragments as ranges of steps, int64 [B, S, 2]."""
    ends = torch.stack([torch.bincount(one).cumsum(0) for one in of])
    return torch.stack([torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], 1), ends], 2)


def looks(features: Tensor, of: Tensor) -> tuple[str, ...]:
    """What EfficientNet-Lite0 sees every fragment as: the class that its last layer gives the mean of the features [D, n]
    over the steps of the fragment, of int64 [n]. VxpError for features of another length, and where it is not installed."""
    weight, bias, names = _classifier()
    if len(features) != weight.shape[1]:
        raise VxpError(f"explanations in words: names:efficientnet-lite0 reads its own {weight.shape[1]} features, and "
                       f"these are {len(features)}: say names:none")
    steps, of = features.detach().cpu().double(), of.cpu()
    means = torch.stack([steps[:, of == k].mean(1) for k in range(int(of.max()) + 1)])
    return tuple(names[k] for k in (means @ weight.T + bias).argmax(1).tolist())


@cache
def _classifier() -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """The last layer of EfficientNet-Lite0, float64, and the names of its classes."""
    model = models.load("efficientnet-lite0")
    last = [module for module in model.module.modules() if isinstance(module, nn.Linear)][-1]
    return last.weight.detach().double(), last.bias.detach().double(), model.class_names


# -------------------------------------------------------------------------------------------------------------- removal


@torch.no_grad()
def removal(model: nn.Module, batch: Batch, fill: str) -> Removal:
    """What the output loses without each part, as claims are judged."""
    if batch.medium is SEQUENCE:
        effects = leave_one_out.explain(model, batch, explanandum="rank-order", fill=fill)
        return Removal(tuple(("shot", str(k + 1)) for k in range(effects.shape[1])), effects.cpu().double(), {})
    names = part_names(batch.concepts, batch.truth.get(WITHOUT))
    with evaluating(model):
        effects = torch.stack([losses_of(model, batch, i, batch.truth[WITHOUT][i], "probability") for i in range(len(batch))])
    return Removal(tuple(("part", name) for name in names), effects.cpu(), {})


def causal(found: Removal, i: int, share: float) -> list[int]:
    """The parts of an item that are causal by removal, the largest effect first."""
    true = found.causes(i, share)
    return [k for k in _falling(found.effects[i].tolist()) if found.names[k] in true]


def not_causal(found: Removal, i: int, share: float) -> list[int]:
    """As many parts that are not causal, or as many as there are, the smallest effect first."""
    true = causal(found, i, share)
    return [k for k in reversed(_falling(found.effects[i].tolist())) if k not in true][: len(true)]


def _falling(effects: Sequence[float]) -> list[int]:
    return sorted(range(len(effects)), key=lambda k: (-effects[k], k))


def check(explainer: str, share: float) -> None:
    """VxpError for a share that is none."""
    check_at_least(explainer, 0, share=share)
    if share > 1:
        raise VxpError(f"explainer {explainer!r}: share is {share}, expected at most 1")


__all__ = ["PARTS", "causal", "check", "items", "not_causal", "removal", "videos"]
