"""Reading arrays of an HDF5 file: only what the file itself holds, by the filters that come with HDF5.

A file may point to other files, and ask for filters that are loaded as code. Both are refused. What is left is read by the
library HDF5, in which files made to harm have found errors before: open files of people whom you trust.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vxp.documents.findings import plain
from vxp.errors import VxpError

LARGEST = 2**30
"""Bytes of an array."""
FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
"""HDF5's own: deflate, shuffle, fletcher32, szip, nbit, scale-offset; and h5py's lzf."""
SOUND = "replace the file by a sound copy, or write it again"


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The root group of a file; VxpError for what is no HDF5 file."""
    h5py = _h5py()
    if not path.is_file():
        raise VxpError(f"{path}: no such file, expected an HDF5 file (.h5)")
    if not path.stat().st_size:
        raise VxpError(f"{path}: an empty file of 0 bytes, expected an HDF5 file: {SOUND}")
    with _read(str(path)):
        file = h5py.File(path, "r")
    with file:
        yield file


@contextmanager
def _read(where: str) -> Iterator[None]:
    """For calls of h5py alone: whatever a damaged file provokes in it becomes a VxpError."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        said = plain(" ".join(str(error).split())[:300])
        raise VxpError(f"{where}: cannot be read ({said}), expected a whole HDF5 file: {SOUND}") from None


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise VxpError(f"h5 files are read with h5py, which is not installed ({error}): pip install 'vxp[h5]'") from None
    return h5py


def names(group: Any, where: str) -> list[str]:
    """The names in a group, in bytewise order."""
    with _read(where):
        return sorted(map(str, group), key=lambda name: name.encode("utf-8", "surrogateescape"))


def group(parent: Any, name: str, where: str) -> Any:
    """A group of a group; VxpError where it is none, or lies elsewhere."""
    found = _held(parent, name, where)
    if not isinstance(found, _h5py().Group):
        raise VxpError(f"{where}: an array, expected a group of arrays, one group per video: write the file again")
    return found


def shape(parent: Any, name: str, where: str) -> tuple[int, ...]:
    """The shape of an array of numbers of a group; VxpError for anything else."""
    return tuple(_numbers(parent, name, where).shape)


def array(parent: Any, name: str, where: str) -> np.ndarray:
    """An array of numbers of a group; VxpError for anything else, and for one that is too large."""
    found = _numbers(parent, name, where)
    size = found.size * found.dtype.itemsize
    if size > LARGEST:
        raise VxpError(f"{where}: an array {list(found.shape)} of {size} bytes, expected at most {LARGEST}: leave out what is "
                       "not needed, or use fewer steps")
    with _read(where):
        return np.asarray(found[()])


def text(parent: Any, name: str, where: str) -> str:
    """A word of a group in signs that are shown as they are; empty where what has the name is none."""
    found = _held(parent, name, where)
    if not isinstance(found, _h5py().Dataset) or found.size != 1 or found.dtype.kind not in "OS":
        return ""
    with _read(where):
        value = np.asarray(found[()]).reshape(-1)[0]
    return plain(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))[:200]


def _numbers(parent: Any, name: str, where: str) -> Any:
    """An array that is not read yet."""
    found = _held(parent, name, where)
    if not isinstance(found, _h5py().Dataset):
        raise VxpError(f"{where}: got a group, expected an array of numbers: write the file again")
    if found.shape is None or found.dtype.kind not in "biuf":
        got = "no values" if found.shape is None else f"values of {found.dtype}"
        raise VxpError(f"{where}: got {got}, expected an array of numbers: write the file again")
    return found


def _held(parent: Any, name: str, where: str) -> Any:
    """What a group holds under a name; VxpError for a link, and for an array whose values lie in other files or are made by a
    filter that HDF5 would load."""
    h5py = _h5py()
    with _read(where):
        if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
            raise VxpError(f"{where}: a link, which may lead to another file, expected what the file itself holds: write the "
                           "file again without links")
        found = parent[name]
        if not isinstance(found, h5py.Dataset):
            return found
        elsewhere = found.is_virtual or bool(found.external)
        plan = found.id.get_create_plist()
        used = {plan.get_filter(i)[0] for i in range(plan.get_nfilters())}
        found.dtype  # noqa: B018  raises for a type that numpy does not have
    if elsewhere:
        raise VxpError(f"{where}: its values lie in other files, expected what the file itself holds: write the file again "
                       "without external or virtual arrays")
    if strange := sorted(used - FILTERS):
        raise VxpError(f"{where}: packed with the HDF5 filter {strange[0]}, which would be loaded as a program, expected none, "
                       "gzip, szip or lzf: write the file again, h5repack -f GZIP=4 IN OUT")
    return found


__all__ = ["array", "group", "names", "opened", "shape", "text"]
