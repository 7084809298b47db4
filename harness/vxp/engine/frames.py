"""Rows of clips through a model that looks at every frame by itself: every distinct frame once, then what the model makes of
their vectors, of late fusion their logits.

Curves over frames show frames of the clip and frames of a fill, whichever map orders them: the vectors of these are computed
once a clip, and kept for all explainers. Their batches hold nothing else, so that a run that was stopped ends with the same
bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vxp.engine.building import Builder
from vxp.engine.running import Runner
from vxp.models.clips import ByFrames

FEW = 997
"""Of so many values of a frame one is compared before all are."""


@dataclass(eq=False)
class Distinct:
    """Frames [C, H, W] that differ, in the order in which they came."""

    frames: list[Tensor] = field(default_factory=list)
    places: dict[bytes, list[int]] = field(default_factory=dict)  # of the frames that look alike

    def find(self, frame: Tensor, look: bytes) -> int | None:
        """The place of the frame that is equal in every value; None where there is none."""
        return next((p for p in self.places.get(look, ()) if torch.equal(self.frames[p], frame)), None)

    def place(self, frame: Tensor, look: bytes) -> int:
        """The place of this frame, which is added where it is new."""
        found = self.find(frame, look)
        if found is None:
            found = len(self.frames)
            self.frames.append(frame)
            self.places.setdefault(look, []).append(found)
        return found


Known = tuple[Distinct, Tensor]
"""Frames, and their vectors [M, D]."""


@dataclass(eq=False)
class Frames:
    """The frames of a batch of clips. fills: those of which a row may show whole frames."""

    runner: Runner
    model: ByFrames
    builder: Builder
    fills: Sequence[str]
    known: dict[int, list[Known]] = field(default_factory=dict)  # by item

    def predict(self, rows: Tensor, items: Sequence[int]) -> Tensor:
        """What the model says, [N, K] float32, of rows [N, C, T, H, W] of these items; only frames of unknown vectors are
        run."""
        new = Distinct()
        found: list[Tensor | int] = []
        for row, item in zip(rows, items, strict=True):
            known = self._of_item(item)
            for frame, look in frames_of(row):
                vector = _among(known, frame, look)
                found.append(new.place(frame, look) if vector is None else vector)
        fresh = _run(self.runner, new.frames) if new.frames else torch.empty(0)
        return _fused(self.runner, self.model, [fresh[f] if isinstance(f, int) else f for f in found], len(rows))

    def _of_item(self, item: int) -> list[Known]:
        """The frames of a clip and those that its fills add, with their vectors."""
        if item not in self.known:
            clip = self.builder.batch.inputs[item]
            name = digest(clip)
            own = _of_clip(self.runner, clip, name)
            self.known[item] = [own]
            for fill in self.fills:
                image, added = self.builder.fill(fill)[item], Distinct()
                for frame, look in frames_of(image):
                    if own[0].find(frame, look) is None:
                        added.place(frame, look)
                if added.frames:
                    self.known[item].append((added, _kept(self.runner, (name, digest(image)), added.frames)))
        return self.known[item]


def fusion_of(model: nn.Module, inputs: Tensor) -> ByFrames | None:
    """The model, where it looks at every frame by itself and the inputs are clips [N, C, T, H, W]."""
    return model if isinstance(model, ByFrames) and inputs.ndim == 5 else None


def predicted(runner: Runner, model: ByFrames, clips: Tensor) -> Tensor:
    """What the model says, [N, K] float32, of clips [N, C, T, H, W]; the vectors of their frames are kept."""
    found = []
    for clip in clips:
        known = _of_clip(runner, clip, digest(clip))
        found += [known[1][known[0].place(frame, look)] for frame, look in frames_of(clip)]
    return _fused(runner, model, found, len(clips))


def _of_clip(runner: Runner, clip: Tensor, name: str) -> Known:
    own = Distinct()
    for frame, look in frames_of(clip):
        own.place(frame, look)
    return own, _kept(runner, (name,), own.frames)


def _kept(runner: Runner, key: tuple[str, ...], frames: Sequence[Tensor]) -> Tensor:
    """Vectors [M, D] of the frames of a clip, or of those that a fill adds. The oldest go where they take more than the
    runner's memory."""
    if key not in runner.kept:
        runner.kept[key] = vectors = _run(runner, frames)
        while len(runner.kept) > 1 and sum(some.nbytes for some in runner.kept.values()) > runner.memory:
            del runner.kept[next(iter(runner.kept))]
        return vectors
    return runner.kept[key]


def _run(runner: Runner, frames: Sequence[Tensor]) -> Tensor:
    """Vectors [M, D] of frames."""
    return runner.by_frame(torch.stack(list(frames)))


def _fused(runner: Runner, model: ByFrames, vectors: Sequence[Tensor], rows: int) -> Tensor:
    together = torch.stack(list(vectors)).unflatten(0, (rows, -1))
    with torch.no_grad(), runner.arithmetic(together.device):
        found: Tensor = model.fused(together).float()
    runner.classes = found.shape[1]
    return found


def _among(known: Sequence[tuple[Distinct, Tensor]], frame: Tensor, look: bytes) -> Tensor | None:
    """The vector [D] of this frame; None where it is none of the known ones."""
    for distinct, vectors in known:
        place = distinct.find(frame, look)
        if place is not None:
            return vectors[place]
    return None


def frames_of(clip: Tensor) -> list[tuple[Tensor, bytes]]:
    """The frames [C, H, W] of a clip [C, T, H, W], each with a few of its values, which are equal for equal frames."""
    # -0 equals 0, and has other bytes
    few = (clip.flatten(2)[..., ::FEW] + 0.0).transpose(0, 1).cpu().contiguous().numpy()
    return [(frame, look.tobytes()) for frame, look in zip(clip.unbind(1), few, strict=True)]


def digest(clip: Tensor) -> str:
    """SHA-256 of the values of a clip."""
    return hashlib.sha256(clip.cpu().contiguous().numpy().tobytes()).hexdigest()


__all__ = ["Distinct", "Frames", "digest", "frames_of", "fusion_of", "predicted"]
