"""imagenet-val-list: the ImageNet (ILSVRC 2012) validation images of a list that was published with a paper.

Images and preprocessing are those of imagenet-val. The list is the user's own file, Evaluation_2000.txt in the folder
of the images or the file that VXP_IMAGENET_LIST names: one image per line, `ILSVRC2012_val_00010011.JPEG 248`, its
label behind it or not. It holds as many images as the task's card says. Of a list that the registry knows by the digest
of its names (PUBLISHED), nothing else is taken.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

from vxp_schemas import typed

from vxp.core import VxpError
from vxp.datasets import Item, Source, imagenet_val

VARIABLE = "VXP_IMAGENET_LIST"
NAME = "Evaluation_2000.txt"
LINE = re.compile(r"(ILSVRC2012_val_[0-9]{8}\.JPEG)(?:\s+([0-9]{1,3}))?")
PUBLISHED = {"imagenet-val-lcam@1": "sha256:4fcd068a1a72ea7b3b31eef2535ae5926ba35dcbd34a87181bd977050cdab64c"}
"""SHA-256 of the names of a task's list, sorted, each with a line feed: labels and the order of lines do not matter."""
WHAT = (f"expected the list of evaluation images, {NAME} as published with L-CAM and TAME (datalist/ILSVRC in the "
        f"repositories bmezaris/L-CAM and bmezaris/TAME), in the folder of the images or named by {VARIABLE}=FILE")


def own(document: typed.Task, folder: Path | None = None) -> list[Item]:
    """The images of the list in order of name, with the label of the list, or of the folder where the list has none."""
    place, path, task = folder or imagenet_val.named(), the_list(folder), f"{document['id']}@{document['version']}"
    labels = read(path)
    names = sorted(labels)
    if len(names) != document["budget"]["items"]:
        raise VxpError(f"{path}: {len(names)} images, expected {document['budget']['items']} as the card of {task} says "
                       "(to score a part of them, use the whole list and --limit)")
    digest = "sha256:" + hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()
    if digest != PUBLISHED.get(task, digest):
        raise VxpError(f"{path}: its names have {digest}, expected {PUBLISHED[task]}, the list of {task}: {WHAT}; images of "
                       "your own choice go through --images manifest.csv")
    return [replace(item, label=(known,)) if (known := labels[item.id]) is not None else item
            for item in imagenet_val.items(names, place, task)]


def the_list(folder: Path | None) -> Path:
    """The file of the list; VxpError where there is none."""
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else (folder or imagenet_val.named()) / NAME
    if not path.is_file():
        raise VxpError(f"{path}: no such file; {WHAT}")
    return path


def read(path: Path) -> dict[str, int | None]:
    """The label of every image of a list, None where it gives none; VxpError names the line that is wrong."""
    found: dict[str, int | None] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line.strip())
        if match is None:
            raise VxpError(f"{path}, line {number}: got {line.strip()[:80]!r}, expected an image and perhaps its label, such "
                           "as ILSVRC2012_val_00010011.JPEG 248")
        if match[1] in found:
            raise VxpError(f"{path}, line {number}: {match[1]} is there twice, expected every image once")
        found[match[1]] = int(match[2]) if match[2] else None
    return found


def missing(folder: Path | None = None) -> str | None:
    absent = imagenet_val.missing(folder)
    if absent is not None:
        return absent
    try:
        the_list(folder)
    except VxpError as error:
        return str(error)
    return None


def at(folder: Path) -> Source:
    """Images, and the list, of a folder that the user names."""
    return replace(IMAGENET_VAL_LIST, load=partial(imagenet_val.load, folder=folder), missing=partial(missing, folder),
                   own=partial(own, folder=folder))


IMAGENET_VAL_LIST = Source(
    id="imagenet-val-list",
    version=1,
    load=imagenet_val.load,
    missing=missing,
    licence="ImageNet terms of access; the user's own copy",
    about="The user's own ImageNet (ILSVRC 2012) validation images of a published list",
    at=at,
    own=own,
)
