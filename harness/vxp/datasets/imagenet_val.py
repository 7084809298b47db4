"""imagenet-val: the user's own copy of the ImageNet (ILSVRC 2012) validation images.

The 50,000 file names are known, so a task's images are drawn without the data: those with the smallest SHA-256 of
"<task>@<version>/<file name>". Preprocessing is torchvision's: the shorter side to 256 (Pillow, bilinear), then the
224 x 224 pixels around the centre; for a model of another square input both are scaled with it. The files lie in one
folder, in one folder per class named by its WordNet id, or as the archive of the localisation task unpacks; with all
1,000 folders of classes the label is the rank of the folder's name, otherwise it is not known.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import vxp_schemas
from PIL import Image
from vxp_schemas import typed

from vxp.core import VxpError
from vxp.datasets import Item, Sample, Source
from vxp.datasets._images import Fit, rgb, tensor

VARIABLE = "VXP_IMAGENET"
IMAGES = 50_000
CLASSES = 1_000
SHORTER, SIZE = 256, 224
WHAT = ("expected the ILSVRC 2012 validation images, ILSVRC2012_val_00000001.JPEG to ILSVRC2012_val_00050000.JPEG, in "
        "one folder or in one folder per class (from image-net.org, after registration): name it by --data DIR or "
        f"{VARIABLE}=DIR")


def drawn(task: str, n: int) -> list[str]:
    """The n file names with the smallest SHA-256 of "<task>/<file name>", in order of name; task is `id@version`."""
    names = (f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, IMAGES + 1))
    return sorted(sorted(names, key=lambda name: hashlib.sha256(f"{task}/{name}".encode()).digest())[:n])


def load(item: Item, folder: Path | None = None) -> Sample:
    place = folder or named()
    image = rgb(at_name(item.recipe["file"], place))
    return Sample(tensor(fit(image.width, image.height, size_of(item)).image(image, Image.Resampling.BILINEAR)))


def at_name(name: str, place: Path) -> Path:
    """The file of a validation image; VxpError where it is not there."""
    if name not in files(place):
        raise VxpError(f"{name} is not in {place}: {WHAT}")
    return files(place)[name]


def size_of(item: Item) -> tuple[int, int]:
    """(H, W) of the item's image; of a task of the registry 224 x 224."""
    height, width = item.recipe.get("size", (SIZE, SIZE))
    return int(height), int(width)


def fit(width: int, height: int, size: tuple[int, int]) -> Fit:
    """torchvision's Resize(256) and CenterCrop(224), or the same share of another square size."""
    if size[0] != size[1]:
        raise VxpError(f"ImageNet's validation images are cropped square, and the model takes {size[0]} x {size[1]} pixels: "
                       "expected a model of a square input")
    shorter = round(SHORTER * size[0] / SIZE)
    # torchvision truncates the longer side
    return Fit(shorter * width // min(width, height), shorter * height // min(width, height), size)


def own(document: typed.Task, folder: Path | None = None) -> list[Item]:
    """The task's items from the user's copy; VxpError naming the first files that it lacks."""
    place = folder or named()
    names = drawn(f"{document['id']}@{document['version']}", document["budget"]["items"])
    return items(names, place, str(document["id"]))


def items(names: Sequence[str], place: Path, task: str) -> list[Item]:
    """The items of these files; VxpError naming the first that are not there."""
    found = files(place)
    lacking = [name for name in names if name not in found]
    if lacking:
        raise VxpError(f"{place}: {len(lacking)} of the {len(names)} images of {task} are not there, first "
                       f"{', '.join(lacking[:3])}; {WHAT}")
    labels = _labels(found)
    return [Item(name, name, {"file": name}, None, labels.get(found[name].parent.name, ())) for name in names]


def listed(folder: Path, size: tuple[int, int], names: Sequence[str]) -> list[Item]:
    """All images of a copy at (H, W), each hashed."""
    found = files(folder)
    return [replace(item, recipe={**item.recipe, "sha256": vxp_schemas.file_digest(found[item.id]), "size": list(size)})
            for item in items(sorted(found), folder, "imagenet-val")]


PLACES = ("", "*", "Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val")
"""Where in a copy the images lie: as the archive of images unpacks, one folder per class, as the archive of the
localisation task unpacks."""


@cache
def files(folder: Path) -> dict[str, Path]:
    """The validation images of a copy by file name."""
    return {path.name: path for place in PLACES for path in folder.glob(f"{place}/ILSVRC2012_val_*.JPEG".lstrip("/"))}


def _labels(found: Mapping[str, Path]) -> dict[str, tuple[int, ...]]:
    """Class by folder name, where there are all the classes; their WordNet ids in order are the classes in order."""
    folders = sorted({path.parent.name for path in found.values()})
    return {name: (i,) for i, name in enumerate(folders)} if len(folders) == CLASSES else {}


def named() -> Path:
    """The folder that the environment names."""
    if not os.environ.get(VARIABLE):
        raise VxpError(f"the ImageNet validation images are not there: {WHAT}")
    return Path(os.environ[VARIABLE])


def missing(folder: Path | None = None) -> str | None:
    try:
        place = folder or named()
    except VxpError as error:
        return str(error)
    if not place.is_dir():
        return f"{place}: no such folder; {WHAT}"
    return None if files(place) else f"{place}: no file ILSVRC2012_val_*.JPEG in it; {WHAT}"


def at(folder: Path) -> Source:
    """The images of a folder that the user names."""
    return replace(IMAGENET_VAL, load=partial(load, folder=folder), missing=partial(missing, folder),
                   own=partial(own, folder=folder))


IMAGENET_VAL = Source(
    id="imagenet-val",
    version=1,
    load=load,
    missing=missing,
    licence="ImageNet terms of access; the user's own copy",
    about="The user's own ImageNet (ILSVRC 2012) validation images",
    at=at,
    own=own,
    listed=listed,
)
