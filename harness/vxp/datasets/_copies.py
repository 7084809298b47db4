"""What data sets of the user's own copy share: where files lie, which items are drawn, which object is the truth."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image
from vxp_schemas import typed

from vxp.core import VxpError
from vxp.datasets._images import opened
from vxp.datasets._types import Item

Box = tuple[float, float, float, float]


def clean(name: str) -> str:
    """A file's or class's name as a part of an item's id: anything but A-Z a-z 0-9 . _ / - becomes `-`."""
    return re.sub(r"[^A-Za-z0-9._/-]", "-", name)[-100:]


def drawn(items: Sequence[Item], document: typed.Task) -> list[Item]:
    """The items of a task: those with the smallest SHA-256 of "<task>@<version>/<item id>", in bytewise order of id."""
    name, n = f"{document['id']}@{document['version']}", int(document["budget"]["items"])
    if len(items) < n:
        raise VxpError(f"task {name} has {n} items, and the copy of its data gives {len(items)}: expected the whole data set")
    first = sorted(items, key=lambda item: hashlib.sha256(f"{name}/{item.id}".encode()).digest())[:n]
    return sorted(first, key=lambda item: item.id.encode())


def first_of(folder: Path, places: Sequence[str]) -> Path | None:
    """The first of these places in a folder that exists."""
    return next((folder / place for place in places if (folder / place).exists()), None)


def classes_to_explain(
    areas: Mapping[str, float], known: Sequence[str], names: Sequence[str]
) -> list[tuple[str, int | None, tuple[int, ...]]]:
    """Which classes of an image are items, with target and label of each.

    Where the model names all classes that the data set knows, every class of the image is an item and its target.
    Otherwise one class is, that of the largest area (the first known of equal ones), and the target is the model's
    prediction. areas: how much of the image each of its classes covers; known: the data set's classes; names: the
    model's.
    """
    there = [name for name in known if areas.get(name, 0) > 0]
    index = {name: i for i, name in enumerate(names)}
    if known and all(name in index for name in known):
        return [(name, index[name], (index[name],)) for name in there]
    largest = max(there, key=lambda name: areas[name], default=None)
    if largest is None:
        return []
    return [(largest, None, (index[largest],) if largest in index else ())]


def annotation(path: Path) -> tuple[int, int, list[tuple[str, Box]]]:
    """Width, height and the named boxes (xmin, ymin, xmax, ymax) of an annotation in the XML of Pascal VOC, as written."""
    try:
        root = ElementTree.parse(path).getroot()
        found = [(_text(thing, "name"), _box(thing)) for thing in root.findall("object")]
        return int(_text(root, "size/width")), int(_text(root, "size/height")), found
    except FileNotFoundError:
        raise VxpError(f"{path}: no such file, expected the boxes of an image in the XML of Pascal VOC") from None
    except (ElementTree.ParseError, ValueError) as error:
        raise VxpError(f"{path}: {error}, expected an annotation in the XML of Pascal VOC with size and object/bndbox: "
                       "replace it by a sound copy") from None


def _box(thing: ElementTree.Element) -> Box:
    x0, y0, x1, y1 = (float(_text(thing, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
    return x0, y0, x1, y1


def _text(element: ElementTree.Element, path: str) -> str:
    text = element.findtext(path)
    if not text:
        raise ValueError(f"no {path} in <{element.tag}>")
    return text.strip()


def image_size(path: Path) -> tuple[int, int]:
    """Width and height from the head of an image file; VxpError where it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.size
    except OSError:
        return opened(path).size  # says what is wrong
