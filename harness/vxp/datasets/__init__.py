"""Data sets: one file each, found by scan, with one top-level `Source`. Nothing here downloads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vxp.catalogue import find, nearest
from vxp.core import VxpError
from vxp.datasets._types import Item, Sample, Source
from vxp.datasets.own_images import folder

__all__ = ["Item", "Sample", "Source", "at", "folder", "own_items", "source", "sources"]


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


def at(source: Source, place: Path) -> Source:
    """The same data set read from a folder that the user names; VxpError where it is not a folder of files."""
    if source.at is None:
        raise VxpError(f"data set {source.id!r} is not read from a folder, got --data {place}: leave --data out")
    if not place.is_dir():
        raise VxpError(f"data set {source.id!r}: no folder {place}, expected the folder that holds its files")
    return source.at(place)


def own_items(document: Mapping[str, Any], source: Source) -> list[Item]:
    """The items of a task whose list is drawn from the user's own copy of the data, by the rule of its data set."""
    if source.own is None:
        raise VxpError(f"task {document['id']!r} has no list of items, and its data set {source.id!r} has no rule that "
                       "draws one: expected `items` in the task's card")
    return source.own(document)


@cache
def _found() -> dict[str, Source]:
    return find("vxp.datasets", Source, group="vxp.datasets")
