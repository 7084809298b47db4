"""Data sets: one file each, found by scan, with one top-level `Source`. Nothing here downloads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from vxp_schemas import typed

from vxp.catalogue import find, nearest
from vxp.core import VxpError
from vxp.datasets import h5_features, own_clips
from vxp.datasets._concepts import examples
from vxp.datasets._types import Examples, Item, Sample, Source, Timeline
from vxp.datasets.manifest import SUFFIXES, manifest
from vxp.datasets.own_images import folder
from vxp.documents.shots import Segments

__all__ = ["Examples", "Item", "Sample", "Segments", "Source", "Timeline", "at", "examples", "folder", "h5_features",
           "manifest", "opened", "own_clips", "own_items", "source", "sources", "with_concepts"]


def sources() -> dict[str, Source]:
    """Every data set by id: the modules of this package and installed plugins (entry-point group `vxp.datasets`)."""
    return dict(_found())


def source(name: str) -> Source:
    """A data set by `id` or `id@version`; VxpError with the nearest name for an unknown one."""
    known = _found()
    id, _, version = name.partition("@")
    if id not in known:
        raise VxpError(f"no data set is called {name!r}{nearest(id, list(known))}; "
                       f"expected one of {', '.join(known)} (`vxp list datasets`)")
    if version not in ("", str(known[id].version)):
        raise VxpError(f"data set {id!r} is there in version {known[id].version}, got {name!r}")
    return known[id]


def with_concepts(source: Source, folder: Path, size: tuple[int, int]) -> Source:
    """The same data set with examples of concepts from a folder, at a model's input (H, W); VxpError for a folder that holds
    none."""
    found = examples(folder, size)
    return replace(source, examples=lambda: found)


def at(source: Source, place: Path) -> Source:
    """The same data set read from a folder that the user names; VxpError where it is not a folder of files."""
    if source.at is None:
        raise VxpError(f"data set {source.id!r} is not read from a folder, got --data {place}: leave --data out")
    if not place.is_dir():
        raise VxpError(f"data set {source.id!r}: no folder {place}, expected the folder that holds its files")
    return source.at(place)


def opened(images: Path, size: tuple[int, int], names: Sequence[str]) -> tuple[list[Item], Source]:
    """What --images names, at a model's input (H, W): a folder of images, a manifest (.csv or .parquet), or ID:DIR, the
    user's copy of a data set. names: the model's classes. Items in bytewise order of their ids."""
    id, colon, place = str(images).partition(":")
    if colon and re.fullmatch("[a-z][a-z0-9-]+", id) and not images.exists():
        copy = at(_readable(id, images), Path(place).expanduser())
        absent = copy.missing()
        if absent or copy.listed is None:
            raise VxpError(f"--images {images}: {absent}")
        items = sorted(copy.listed(Path(place).expanduser(), size, names), key=lambda item: item.id.encode())
        if not items:
            raise VxpError(f"--images {images}: no image in it that can be an item")
        return items, copy
    return manifest(images, size, names) if images.suffix.lower() in SUFFIXES else folder(images, size)


def _readable(id: str, images: Path) -> Source:
    """The data set of this id; VxpError where it is not one whose copy can be opened."""
    known = [name for name, source in _found().items() if source.listed is not None]
    if id not in known:
        raise VxpError(f"--images {images}: no data set of one's own copy is called {id!r}{nearest(id, known)}; expected a "
                       f"folder, a manifest (.csv or .parquet), or ID:DIR with ID one of {', '.join(known)}")
    return _found()[id]


def own_items(document: typed.Task, source: Source) -> list[Item]:
    """The items of a task whose list is drawn from the user's own copy of the data, by the rule of its data set."""
    if source.own is None:
        raise VxpError(f"task {document['id']!r} has no list of items, and its data set {source.id!r} has no rule that "
                       "draws one: expected `items` in the task's card")
    return source.own(document)


@cache
def _found() -> dict[str, Source]:
    return find("vxp.datasets", Source, group="vxp.datasets")
