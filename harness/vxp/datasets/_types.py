"""What a data set is made of: items that say how an image is made, samples that are the image, sources that make it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from vxp_schemas import typed

from vxp.core import VxpError
from vxp.documents import shots
from vxp.documents.shots import Segments

Recipe = Mapping[str, Any]
"""How an image or clip is made, in JSON values; each data set has its own."""

Access = Literal["procedural", "packages", "download", "user-copy"]


@dataclass(frozen=True)
class Item:
    """One image or clip of a task, by the recipe that makes it again.

    The recipe's `foil` is the class that a counterfactual is to reach. cluster names what statistics resample (photo, stamp,
    image, clip); recipe holds JSON values only; target is the class that is explained, None where it is the model's own
    prediction; label are the classes that count as correct, () where they are not known.
    """

    id: str
    cluster: str
    recipe: Recipe
    target: int | None = None
    label: tuple[int, ...] = ()

    @property
    def foil(self) -> int | None:
        """The class that a counterfactual of it is to reach."""
        found: int | None = self.recipe.get("foil")
        return found


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples of concepts: images uint8 [K, n, 3, H, W] that show each, and that do not; paired: in pairs that differ in the
    concept alone. Where all concepts of every example are known, values bool [2, K, n, K], of those that do not show it and of
    those that do, and labels int64 [2, K, n], the class that is correct."""

    names: tuple[str, ...]
    on: Tensor
    off: Tensor
    paired: bool = False
    values: Tensor | None = None
    labels: Tensor | None = None

    @property
    def content(self) -> dict[str, Any]:
        """What they are, in JSON values: their names and the digests of their pixels."""
        pixels = {kind: hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()
                  for kind, images in (("on", self.on), ("off", self.off))}
        return {"concepts": list(self.names), "shape": list(self.on.shape), "paired": self.paired, **pixels}


@dataclass(frozen=True, eq=False)
class Timeline:
    """How a video is divided: so many frames, its list of shots, which partitions them, the frames per second where they are
    known, and the frames that a model looks at, its steps; None where the model chooses them."""

    frames: int
    fragments: Segments
    fps: float | None = None
    picks: tuple[int, ...] | None = None

    @property
    def steps(self) -> tuple[int, ...]:
        """The frames that are looked at."""
        return tuple(range(self.frames)) if self.picks is None else self.picks

    def segments(self, unit: str) -> Segments:
        """The parts of this unit as ranges of frames: the shots, the whole seconds, or what every step stands for, the frames
        from it up to the next. VxpError for seconds of a video whose rate is not known."""
        if unit == "fragment":
            return self.fragments
        if unit == "frame":
            return shots.steps_of(self.steps, self.frames)
        if self.fps is None:
            raise VxpError("scores by second were asked for, and the frames per second of the video are not known")
        return shots.seconds_of(self.frames, self.fps)

    def parts(self) -> dict[str, Tensor]:
        """int64 [n] by unit: the part that every step belongs to."""
        units = ("fragment",) if self.fps is None or self.fps < 1 else ("fragment", "second")
        return {unit: torch.tensor(shots.fragments_of(self.steps, self.segments(unit)), dtype=torch.int64) for unit in units}


@dataclass(frozen=True, eq=False)
class Sample:
    """An image uint8 [3, H, W], a clip [3, T, H, W], or features float [D, n] of a sequence; and its truth: `mask` and `cells`
    are bool of its positions, `boxes` int64 [N, 4], half-open. timeline: of a video how it is divided. parts: label
    maps int64 of its positions by what they show (`object`), numbered from 0 without a gap, -1 where there is nothing."""

    image: Tensor
    truth: Mapping[str, Tensor] = field(default_factory=dict)
    timeline: Timeline | None = None
    parts: Mapping[str, Tensor] = field(default_factory=dict)


def _not_chosen_by_seed(seed: int) -> Iterator[Item]:
    return iter(())


@dataclass(frozen=True, eq=False)
class Source:
    """A data set: `load` makes the sample of an item, `propose` yields seeded candidates for a task's items.

    truth: the keys that every sample has. missing: None where the data is there, else exactly what to do. at: the same source
    reading from a folder that the user names. own: the items of the user's own copy, for data sets whose bytes the registry
    does not have; it is given the task's card. listed: all items of the copy in a folder at a model's input (H, W), for
    `--images ID:DIR`; it is also given the names of the model's classes. chosen: the class that a task's list freezes as an
    item's target, of the logits [K], None where it leaves the item out; by default the card's `targets` say it. examples: of
    the concepts that explanations are made of. share: how many items of a task one cluster gives at most. alike: of items of
    different sizes, the size; only items of one size go through a model together.

    access says how one gets the data (`procedural`: the code makes it). Where it is given, the registry's document is written
    from this declaration: about as its title, detail as its text, cluster as what the items of a cluster share.
    """

    id: str
    version: int
    load: Callable[[Item], Sample]
    missing: Callable[[], str | None]
    licence: str
    about: str
    truth: tuple[str, ...] = ()
    propose: Callable[[int], Iterator[Item]] = _not_chosen_by_seed
    at: Callable[[Path], Source] | None = None
    own: Callable[[typed.Task], list[Item]] | None = None
    listed: Callable[[Path, tuple[int, int], Sequence[str]], list[Item]] | None = None
    chosen: Callable[[Item, Tensor], int | None] | None = None
    alike: Callable[[Item], object] | None = None
    examples: Callable[[], Examples] | None = None
    share: int = 1
    access: Access | None = None
    detail: str = ""
    cluster: str = "image"
