"""stamps: photo cut-outs of Debian's tuxpaint-stamps-default, composited on photos of ground, with exact masks.

1. The stamp is cropped to the box of alpha > 127 and resized, its longer side 50 to 80 % of 224 px (Pillow, bilinear).
2. It is laid at a seeded place on a seeded 224 px window of a photo of brick, grass or gravel (scikit-image).
3. pixel = (stamp*alpha + ground*(255 - alpha) + 127) // 255; the truth is alpha > 127 of the resized stamp.

The stamps are under the GPL-2: they are read from where they are installed or unpacked and are no part of this project.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.resources import files
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vxp.core import VxpError
from vxp.datasets import Item, Sample, Source
from vxp.datasets._images import between, check, opened, uniforms
from vxp.datasets.photos import absent, photograph
from vxp.machine import caches

SIZE = 224
SMALLEST, LARGEST = 0.5, 0.8
"""Longer side of a stamp over the side of the image."""
GROUNDS = {name: f"skimage/data/{name}.png" for name in ("brick", "grass", "gravel")}
GROUND_SIDE = 512
PACKAGE = "tuxpaint-stamps-default"
INSIDE = Path("usr/share/tuxpaint/stamps")
"""Where the package keeps its stamps."""
VARIABLE = "VXP_STAMPS"


@cache
def mapping() -> dict[str, tuple[int, ...]]:
    """The ImageNet classes that count as correct, by stamp (its path in the package without .png)."""
    table = json.loads(files("vxp").joinpath("assets", "stamps_imagenet.json").read_bytes())["stamps"]
    return {name: tuple(classes) for name, classes in sorted(table.items())}


def cache_folder() -> Path:
    """The cache that all checkouts share: $XDG_CACHE_HOME/vxp/stamps, by default ~/.cache/vxp/stamps."""
    return caches() / "stamps"


def unpacked(folder: Path) -> Path:
    """Where the stamps of a cache are once they are unpacked."""
    return folder / "unpacked" / INSIDE


def located(folder: Path | None = None) -> Path | None:
    """The first of the named folder ($VXP_STAMPS), the installed package and the cache that holds stamps."""
    named = os.environ.get(VARIABLE)
    places = [Path(named)] if named else [Path("/") / INSIDE, unpacked(folder or cache_folder())]
    return next((place for place in places if holds_stamps(place)), None)


def holds_stamps(folder: Path) -> bool:
    """Whether every mapped stamp is there."""
    return all((folder / f"{stamp}.png").is_file() for stamp in mapping())


def missing(folder: Path | None = None) -> str | None:
    ground = absent(list(GROUNDS.values()))
    found = located() if folder is None else folder if holds_stamps(folder) else None
    if found is not None or ground is not None:
        return ground
    named = folder or os.environ.get(VARIABLE)
    if named:
        return (f"the folder {named} lacks some of the {len(mapping())} stamps of {PACKAGE}, expected its subfolders "
                f"animals, food, ...: name the folder that ends in {INSIDE}")
    return (f"the stamps of Debian's {PACKAGE} are not there: run `vxp data get stamps`, install that package, or set "
            f"{VARIABLE} to its folder {INSIDE} unpacked anywhere")


def load(item: Item, folder: Path | None = None) -> Sample:
    recipe = item.recipe
    image, mask = composite(recipe["stamp"], recipe["size"], recipe["place"], ground_of(item), folder)
    return Sample(image, {"mask": mask})


def ground_of(item: Item) -> np.ndarray:
    """What is behind the stamp of an item, uint32 [H, W, 3]."""
    left, top = item.recipe["window"]
    photo = photograph(GROUNDS[item.recipe["ground"]], "stamps").crop((left, top, left + SIZE, top + SIZE))
    return np.asarray(photo, dtype=np.uint32)


def composite(
    stamp: str, longer: int, place: Sequence[int], ground: np.ndarray, folder: Path | None = None
) -> tuple[Tensor, Tensor]:
    """The image uint8 [3, H, W] of a stamp over a ground uint32 [H, W, 3], and its mask bool [H, W]."""
    cut = cut_out(stamp, longer, folder)
    alpha = np.zeros(ground.shape[:2], dtype=np.uint32)
    over_it = np.zeros(ground.shape, dtype=np.uint32)
    x, y = place
    where = np.s_[y : y + cut.height, x : x + cut.width]
    pixels = np.asarray(cut, dtype=np.uint32)
    over_it[where], alpha[where] = pixels[..., :3], pixels[..., 3]
    over = alpha[..., None]
    mixed = (over_it * over + ground * (255 - over) + 127) // 255
    return torch.from_numpy(mixed.astype(np.uint8)).permute(2, 0, 1).contiguous(), torch.from_numpy(alpha > 127)


def cut_out(stamp: str, longer: int, folder: Path | None = None) -> Image.Image:
    """A stamp as RGBA, cropped to its mask and resized so that its longer side has this many pixels."""
    image = _stamp(stamp, folder or _found())
    scale = longer / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR)


@cache
def _stamp(stamp: str, folder: Path) -> Image.Image:
    path = folder / f"{stamp}.png"
    check(path, f"{INSIDE.as_posix()}/{stamp}.png", "stamps",
          remedy=f"another version of {PACKAGE} is installed; point {VARIABLE} at the version that the document names")
    image = opened(path).convert("RGBA")
    return image.crop(image.getchannel("A").point(lambda a: 255 * (a > 127)).getbbox())


def _found() -> Path:
    folder = located()
    if folder is None:
        raise VxpError(f"data set stamps: {missing()}")
    return folder


def propose(seed: int) -> Iterator[Item]:
    """Every stamp once in a seeded order, then every stamp again at another place, without end."""
    draws = {stamp: next(uniforms(seed, "stamps", stamp)) for stamp in mapping()}
    for turn in count():
        for stamp in sorted(draws, key=lambda name: draws[name]):
            yield _proposal(stamp, seed, turn)


def _proposal(stamp: str, seed: int, turn: int) -> Item:
    u = uniforms(seed, "stamps", stamp, turn)
    size = between(next(u), round(SMALLEST * SIZE), round(LARGEST * SIZE))
    # a square of the longer side fits at this place, so the stamp does whatever its proportions are
    place = [between(next(u), 0, SIZE - size), between(next(u), 0, SIZE - size)]
    ground = list(GROUNDS)[between(next(u), 0, len(GROUNDS) - 1)]
    window = [between(next(u), 0, GROUND_SIDE - SIZE), between(next(u), 0, GROUND_SIDE - SIZE)]
    recipe = {"stamp": stamp, "size": size, "place": place, "ground": ground, "window": window}
    return Item(f"{stamp}/{turn:02d}", stamp, recipe, None, mapping()[stamp])


def at(folder: Path) -> Source:
    """The stamps of a folder that the user names."""
    return replace(STAMPS, load=partial(load, folder=folder), missing=partial(missing, folder))


STAMPS = Source(
    id="stamps",
    version=1,
    load=load,
    propose=propose,
    missing=missing,
    licence="GPL-2 (stamps), CC0 (backgrounds)",
    about="Photo cut-outs of Debian's tuxpaint-stamps-default on photos of ground, with exact masks",
    truth=("mask",),
    at=at,
)
