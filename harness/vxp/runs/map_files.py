"""Explanations in files, a file with all of them or a folder with one for each item."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from PIL import Image
from torch import Tensor

from vxp.core import VxpError
from vxp.documents import words
from vxp.documents.findings import plain
from vxp.documents.words import Words
from vxp.kinds import COUNTERFACTUAL, HEATMAP2D, TEXT, Kind, encoded

NAMES_SHOWN = 5
ENDINGS, WORDS = (".npy", ".safetensors", ".png"), (".json", ".txt")
"""Kinds of files that a folder may hold, one per item; of explanations in words."""


def read_maps(path: Path, items: Sequence[str], kind: Kind = HEATMAP2D) -> Tensor:
    """Explanations [N, *grid] of a kind in the items' order: maps [N, h, w] float32, of clips [N, t, h, w].

    path: a .safetensors with one tensor [N, *grid] in the order of items.csv, or one [*grid] for each item by its id; a .npy
    [N, *grid]; or a folder with a .npy, .safetensors or .png for each item, named by its id or its row. A .png is grey, of
    counterfactuals RGB; of words each item has a .json of a text and its claims, or a .txt of a text alone. Nothing is
    unpickled. VxpError names what is missing or of another shape.
    """
    if path.is_dir():
        return _stacked(path, _of_folder(path, items, kind), items, kind)
    if not path.is_file():
        raise VxpError(f"--maps {path} does not exist: expected a .safetensors or .npy file, or a folder with "
                       "one file per item")
    tensors = _file(path, kind)
    if isinstance(tensors, np.ndarray):
        return _whole(path, tensors, items, kind)
    if len(tensors) == 1 and next(iter(tensors.values())).ndim == len(kind.grid) + 1:
        return _whole(path, next(iter(tensors.values())), items, kind)
    return _stacked(path, tensors, items, kind)


def _file(path: Path, kind: Kind) -> np.ndarray | dict[str, np.ndarray]:
    try:
        if path.suffix in WORDS and kind is TEXT:
            given = path.read_text(encoding="utf-8")
            one = words.parsed(given, where=str(path)) if path.suffix == ".json" else Words(" ".join(given.split()))
            return encoded([one])[0].numpy()
        if path.suffix == ".npy":
            return _npy(path)
        if path.suffix == ".safetensors":
            return dict(safetensors.numpy.load_file(path))
        if path.suffix == ".png":
            # the format by name: Image.open would take any that it knows
            image = Image.open(path, formats=("PNG",))
            if kind is COUNTERFACTUAL and image.mode == "RGB":
                return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
            if image.mode not in ("L", "I;16", "I", "F"):
                raise VxpError(f"{path}: an image of mode {image.mode}; expected a grey PNG of 8 or 16 bit")
            return np.asarray(image, np.float32)
    except VxpError:
        raise
    except Exception as error:  # whatever a damaged file provokes in a reader
        raise VxpError(f"{path} cannot be read: {plain(' '.join(str(error).split())[:300]) or type(error).__name__}") from None
    raise VxpError(f"{path}: expected a file that ends in {', '.join(_endings(kind))}")


def _endings(kind: Kind) -> tuple[str, ...]:
    return WORDS if kind is TEXT else ENDINGS


def _npy(path: Path) -> np.ndarray:
    """An array of numbers. The file is as long as its header says before anything is reserved, and is no archive."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        there = path.stat().st_size - file.tell()
        if dtype.hasobject or dtype.itemsize * math.prod(shape) != there:
            raise ValueError(f"{there} bytes for values {list(shape)} of {dtype}; expected numbers, and as many as the header "
                             "says")
        file.seek(0)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _of_folder(folder: Path, items: Sequence[str], kind: Kind) -> dict[str, np.ndarray]:
    """A file per item: `<item id>.npy` (also in folders, where ids have slashes) or `<row>.npy` with or without zeros."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix in _endings(kind)]
    known = {item: item for item in items} | {f"{i:05d}": item for i, item in enumerate(items)}
    known |= {str(i): item for i, item in enumerate(items) if str(i) not in known}
    found: dict[str, np.ndarray] = {}
    for file in files:
        name = file.relative_to(folder).with_suffix("").as_posix()
        item = known.get(name)
        if item is None:
            raise VxpError(f"{file}: no item of the task is called {name!r}; items are called {items[0]!r} ..., rows 00000 ...")
        if item in found:
            raise VxpError(f"{file}: a second map of item {item!r}")
        values = _file(file, kind)
        if not isinstance(values, np.ndarray):
            if len(values) != 1:
                raise VxpError(f"{file}: got {len(values)} tensors, expected one")
            values = next(iter(values.values()))
        found[item] = values
    return found


def _whole(path: Path, values: np.ndarray, items: Sequence[str], kind: Kind) -> Tensor:
    if values.ndim != len(kind.grid) + 1 or len(values) != len(items) or 0 in values.shape:
        raise VxpError(f"{path}: got an array {list(values.shape)}, expected [{len(items)}, {kind.shape}]: a map for each of "
                       "the task's items, in the order of its list (vxp data export writes it)")
    return _typed(path, values, kind)


def _stacked(path: Path, maps: Mapping[str, np.ndarray], items: Sequence[str], kind: Kind) -> Tensor:
    missing, extra = [i for i in items if i not in maps], [k for k in maps if k not in set(items)]
    if missing or extra:
        said = [f"{len(names)} {what} ({', '.join(names[:NAMES_SHOWN])}{', ...' if len(names) > NAMES_SHOWN else ''})"
                for what, names in (("items without a map", missing), ("maps of no item", extra)) if names]
        raise VxpError(f"{path}: {' and '.join(said)}; expected one for each of the task's {len(items)} items, by its id")
    shapes = {tuple(m.shape) for m in maps.values()}
    if len(shapes) > 1 or len(next(iter(shapes))) != len(kind.grid) or 0 in next(iter(shapes)):
        raise VxpError(f"{path}: got maps of the shapes {sorted(shapes)[:NAMES_SHOWN]}, expected one shape [{kind.shape}] "
                       "for all")
    return _typed(path, np.stack([maps[item] for item in items]), kind)


def _typed(path: Path, values: np.ndarray, kind: Kind) -> Tensor:
    if kind.dtype == torch.uint8:
        if values.dtype != np.uint8:
            raise VxpError(f"{path}: got values of {values.dtype}, expected uint8: {kind.expected}")
        return torch.from_numpy(np.ascontiguousarray(values))
    if not (np.issubdtype(values.dtype, np.floating) or np.issubdtype(values.dtype, np.integer)):
        raise VxpError(f"{path}: got values of {values.dtype}, expected real numbers")
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


__all__ = ["read_maps"]
