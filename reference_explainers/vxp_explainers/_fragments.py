"""What a model that scores the steps of a video says of it without some of its fragments, or of the objects in it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from vxp import outputs
from vxp.core import Batch, VxpError
from vxp.kinds import painted
from vxp.media import Fill, Shortened
from vxp.metrics._fragments import tau_b
from vxp.models.clips import ByFrames
from vxp.models.sequences import Scorer

from vxp_explainers._common import rows
from vxp_explainers._removal import without

EXPLANANDA = ("rank-order", "mean-score")
"""What of the scores is explained: in which order they bring the steps, or how large they are."""

READS = ("column", "diagonal")
"""What of a matrix of attention belongs to a frame."""

FRAMES = 64
"""Frames that are looked at together."""
Scores = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""Of an item's index and the fragments that go, bool [N, S]: the scores of the steps, float64 [N, n], and which steps are
there, bool [N, n]."""
Say = Callable[[int, Tensor], Tensor]
"""The same, and one number of the scores: float64 [N]."""


def objects(batch: Batch, scores: Tensor) -> Tensor:
    """Scores [B, K] of the objects of every item as regions [B, 2, *space]."""
    return painted(batch.parts_of("object").view(len(batch), *batch.space), scores)


def scoring(model: nn.Module, batch: Batch, fill: str, unit: str = "fragment") -> Scores:
    """What the model scores without fragments, or without objects, under any fill of the medium. Under `remove` the video is
    shorter, and one of which nothing is left shows the fill that stands for it, `zero` of features. A video of which nothing
    goes is scored once a call. VxpError for an unknown fill, and for items that are not divided into such parts."""
    of, found = batch.parts_of(unit), batch.medium.fill(fill)
    if unit == "object":
        return _blanked(model, batch, fill)
    say = _shortened(model, batch, found) if isinstance(found, Shortened) else _filled(model, batch, fill)

    def scores(i: int, removed: Tensor) -> tuple[Tensor, Tensor]:
        gone = removed[:, of[i]]
        there = torch.ones_like(gone)
        whole = _scored(model, batch.inputs[i : i + 1])
        said = whole.repeat(len(gone), 1)
        some = gone.any(1).nonzero().flatten()
        if len(some):
            said[some], there[some] = say(i, gone[some])
        return said, there

    return scores


def saying(model: nn.Module, batch: Batch, fill: str, explanandum: str, unit: str = "fragment") -> Say:
    """One number of the scores of the steps that are there: `mean-score`, their mean; `rank-order`, tau_b with the scores that
    they have in the whole video, 1 of the video itself.

    tau_b is 0 where no order is left: of a video all of whose fragments went, of one step, and of equal scores. Under a fill
    that shows one thing everywhere the scores of the first would be in an order that rounding makes.
    """
    scores = scoring(model, batch, fill, unit)

    def say(i: int, removed: Tensor) -> Tensor:
        # the first row is the whole video
        said, there = scores(i, torch.cat([torch.zeros_like(removed[:1]), removed]))
        whole, said, there = said[:1], said[1:], there[1:]
        if explanandum == "mean-score":
            return (said * there).sum(1) / there.sum(1)
        found = tau_b(whole.expand_as(said), said, there)[0].to(said.device)
        return found if unit == "object" else found.masked_fill(removed.all(1), 0)

    return say


def attention_of(explainer: str, model: nn.Module, batch: Batch) -> tuple[Scorer, Tensor]:
    """The model and its attention [B, n, n], detached; VxpError for a model that says none."""
    if not isinstance(model, Scorer):
        raise VxpError(f"explainer {explainer!r} needs a model that scores steps by attention, got a {type(model).__name__}: "
                       "wrap it by vxp.frame_scores, or leave the explainer out")
    with torch.no_grad():
        return model, model.attention(batch.inputs.detach()).detach()


def read_attention(matrix: Tensor, read: str) -> Tensor:
    """Of every frame the mean of its column, or its element on the diagonal, [B, n] of [B, n, n]."""
    return matrix.mean(1) if read == "column" else matrix.diagonal(dim1=1, dim2=2)


def _scored(model: nn.Module, inputs: Tensor) -> Tensor:
    """float64 [N, n]."""
    return outputs.SEQUENCE.checked(model(inputs), inputs).double()


def _filled(model: nn.Module, batch: Batch, fill: str) -> Scores:
    """Of steps that go, bool [N, n], under a fill that puts something in their place."""
    made, over = without(batch, fill), (..., *[None] * (len(batch.space) - 1))

    def scores(i: int, gone: Tensor) -> tuple[Tensor, Tensor]:
        removed = gone[over].expand(-1, *batch.space)
        said = [_scored(model, made(i, removed[part])) for part in rows(len(gone), batch.space)]
        return torch.cat(said), torch.ones_like(gone)

    return scores


def _blanked(model: nn.Module, batch: Batch, fill: str) -> Scores:
    """Of objects that go, bool [N, K]: all of their positions show the fill. A model that looks at every frame by itself looks
    again only at the frames that change."""
    made, of = without(batch, fill), batch.parts_of("object")

    def scores(i: int, removed: Tensor) -> tuple[Tensor, Tensor]:
        gone = (removed[:, of[i].clamp_min(0)] & (of[i] >= 0)).view(len(removed), *batch.space)
        there = torch.ones_like(gone.flatten(2).any(2))
        if isinstance(model, ByFrames):
            vectors = model.by_frame(batch.inputs[i].movedim(1, 0))
            said = torch.cat([_reseen(model, vectors, made(i, gone[part]), gone[part])
                              for part in rows(len(gone), batch.space)])
        else:
            said = torch.cat([_scored(model, made(i, gone[part])) for part in rows(len(gone), batch.space)])
        return said, there

    return scores


def _reseen(model: ByFrames, vectors: Tensor, clips: Tensor, gone: Tensor) -> Tensor:
    """Scores float64 [N, T] of clips [N, C, T, H, W] that differ from one whose frames have vectors [T, D] where they are
    gone."""
    changed = gone.flatten(2).any(2)
    found = vectors.expand(len(clips), *vectors.shape).clone()
    if bool(changed.any()):
        frames = clips.movedim(1, 2)[changed]
        found[changed] = torch.cat([model.by_frame(some) for some in frames.split(FRAMES)])
    said: Tensor = model.fused(found).double()
    return said


def _shortened(model: nn.Module, batch: Batch, fill: Fill) -> Scores:
    """Of steps that go, bool [N, n], where they are left out; rows of one length go together. 0 at steps that are not there."""

    def scores(i: int, gone: Tensor) -> tuple[Tensor, Tensor]:
        video, there = batch.inputs[i], ~gone
        said = gone.new_zeros(gone.shape, dtype=torch.float64)
        length = there.sum(1)
        for n in length.unique().tolist():
            alike = (length == n).nonzero().flatten()
            if n == 0:
                said[alike] = _scored(model, batch.fill_image(fill.whole)[i : i + 1])
                there[alike] = True
                continue
            places = there[alike].nonzero()[:, 1].view(len(alike), n)
            for part in rows(len(alike), batch.space):
                shorter = video[:, places[part]].movedim(1, 0)
                said[alike[part]] = said[alike[part]].scatter(1, places[part], _scored(model, shorter))
        return said, there

    return scores
