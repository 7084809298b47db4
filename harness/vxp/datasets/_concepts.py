"""Examples of concepts in folders of one's own: DIR/<concept>/on and DIR/<concept>/off, or DIR/<concept> with DIR/random.

1. A folder of DIR is a concept. It holds a folder `on` of images that show the concept, and a folder `off` of images that do
not; or
   the images that show it themselves, and then those of DIR/random are the ones that do not, for every such concept.
2. Every concept has as many examples of both kinds as the one that has fewest: the first, in bytewise order of their names.
3. Images go the way of one's own images: turned as EXIF says, RGB, the shorter side at the model's input, cropped around the
   centre.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from vxp.core import VxpError
from vxp.datasets._images import covering, tensor
from vxp.datasets._types import Examples
from vxp.datasets.own_images import SUFFIXES, upright

RANDOM = "random"
"""The folder of images that show no concept."""
LEAST = 2
"""Examples of either kind that a concept needs."""
Paths = list[Path]


def examples(folder: Path, size: tuple[int, int]) -> Examples:
    """The examples of a folder at a model's input (H, W). Concepts in bytewise order of their names.

    VxpError for a folder without concepts, a concept with fewer than two examples of either kind, an unreadable image, and
    names that become equal.
    """
    found = _concepts(folder)
    n = min(len(paths) for pair in found.values() for paths in pair)
    on, off = (torch.stack([_images(pair[kind][:n], size) for pair in found.values()]) for kind in (0, 1))
    return Examples(tuple(found), on, off)


def _concepts(folder: Path) -> Mapping[str, tuple[Paths, Paths]]:
    """The images with and without each concept, by its name."""
    if not folder.is_dir():
        raise VxpError(f"--concepts {folder}: not a folder, expected one with a folder for every concept")
    inside = [path for path in folder.iterdir() if path.is_dir() and path.name != RANDOM]
    folders = sorted(inside, key=lambda path: path.name.encode())
    if not folders:
        raise VxpError(f"--concepts {folder}: no concept in it, expected a folder for each, with the folders on and off in it, "
                       f"or with images beside a folder {RANDOM}")
    found: dict[str, tuple[Paths, Paths]] = {}
    for place in folders:
        name = re.sub("[^a-z0-9]+", "-", place.name.lower()).strip("-") or "concept"
        if name in found:
            raise VxpError(f"--concepts {folder}: two folders both become the concept {name!r}, expected different names: "
                           f"rename {place.name}")
        found[name] = _pair(place)
    return found


def _pair(place: Path) -> tuple[Paths, Paths]:
    split = (place / "on").is_dir() or (place / "off").is_dir()
    on, off = (place / "on", place / "off") if split else (place, place.parent / RANDOM)
    for where in (on, off):
        got = len(_paths(where))
        if got < LEAST:
            hint = "" if split else f". It has the folders on and off, or there is a folder {RANDOM} of images without it"
            raise VxpError(f"--concepts {place.parent}: the concept {place.name!r} has {got} images in {where}, expected at "
                           f"least {LEAST}, PNG or JPEG{hint}")
    return _paths(on), _paths(off)


def _paths(where: Path) -> Paths:
    if not where.is_dir():
        return []
    return sorted((path for path in where.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()),
                  key=lambda path: path.name.encode())


def _images(paths: Paths, size: tuple[int, int]) -> Tensor:
    return torch.stack([tensor(covering(upright(path), size, Image.Resampling.BILINEAR)) for path in paths])


__all__ = ["examples"]
