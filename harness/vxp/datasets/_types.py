"""What a data set is made of: items that say how an image is made, samples that are the image, sources that make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor
from vxp_schemas import typed

Recipe = Mapping[str, Any]
"""How an image or clip is made, in JSON values; each data set has its own."""

Access = Literal["procedural", "packages", "download", "user-copy"]


@dataclass(frozen=True)
class Item:
    """One image or clip of a task, by the recipe that makes it again.

    cluster names what statistics resample (photo, stamp, image, clip); recipe holds JSON values only; target is the class
    that is explained, None where it is the model's own prediction; label are the classes that count as correct, ()
    where they are not known.
    """

    id: str
    cluster: str
    recipe: Recipe
    target: int | None = None
    label: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Sample:
    """An image uint8 [3, H, W], or a clip [3, T, H, W], and its truth: `mask` and `cells` are bool of its positions, `boxes`
    int64 [N, 4], half-open."""

    image: Tensor
    truth: Mapping[str, Tensor] = field(default_factory=dict)


def _not_chosen_by_seed(seed: int) -> Iterator[Item]:
    return iter(())


@dataclass(frozen=True, eq=False)
class Source:
    """A data set: `load` makes the sample of an item, `propose` yields seeded candidates for a task's items.

    truth: the keys that every sample has. missing: None where the data is there, else exactly what to do. at: the same
    source reading from a folder that the user names. own: the items of the user's own copy, for data sets whose bytes
    the registry does not have; it is given the task's card. listed: all items of the copy in a folder at a model's input
    (H, W), for `--images ID:DIR`; it is also given the names of the model's classes. chosen: the class that a task's list
    freezes as an item's target, of the logits [K], None where it leaves the item out; by default the card's `targets` say it.
    share: how many items of a task one cluster gives at most.

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
    share: int = 1
    access: Access | None = None
    detail: str = ""
    cluster: str = "image"
