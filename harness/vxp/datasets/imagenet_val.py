"""imagenet-val: the user's own copy of the ImageNet (ILSVRC 2012) validation images.

The 50,000 file names are known, so a task's images are drawn without the data: those with the smallest SHA-256 of
"<task>@<version>/<file name>". Preprocessing is torchvision's: the shorter side to 256 (Pillow, bilinear), then the
224 x 224 pixels around the centre. The files lie in one folder, or in one folder per class named by its WordNet id;
with all 1,000 of these the label is the rank of the folder's name, otherwise it is not known.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from PIL import Image

from vxp.core import VxpError
from vxp.datasets import Item, Sample, Source
from vxp.datasets._images import centre, rgb, tensor

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
    found = files(folder or named())
    if item.recipe["file"] not in found:
        raise VxpError(f"{item.recipe['file']} is not in {folder or named()}: {WHAT}")
    image = rgb(found[item.recipe["file"]])
    # torchvision truncates the longer side
    size = (SHORTER * image.width // min(image.size), SHORTER * image.height // min(image.size))
    return Sample(tensor(centre(image.resize(size, Image.Resampling.BILINEAR), (SIZE, SIZE))))


def own(document: Mapping[str, Any], folder: Path | None = None) -> list[Item]:
    """The task's items from the user's copy; VxpError naming the first files that it lacks."""
    place = folder or named()
    found = files(place)
    names = drawn(f"{document['id']}@{document['version']}", document["budget"]["items"])
    lacking = [name for name in names if name not in found]
    if lacking:
        raise VxpError(f"{place}: {len(lacking)} of the {len(names)} images of {document['id']} are not there, first "
                       f"{', '.join(lacking[:3])}; {WHAT}")
    labels = _labels(found)
    return [Item(name, name, {"file": name}, None, labels.get(found[name].parent.name, ())) for name in names]


@cache
def files(folder: Path) -> dict[str, Path]:
    """The validation images of a folder or of its sub-folders, by file name."""
    return {path.name: path for pattern in ("", "*/") for path in folder.glob(f"{pattern}ILSVRC2012_val_*.JPEG")}


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
)
