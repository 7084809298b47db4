"""voc: the user's own copy of Pascal VOC, the images of the segmentation task with masks by class and boxes.

Layout: JPEGImages/, SegmentationClass/, Annotations/ and ImageSets/Segmentation/val.txt, in the folder or in VOC2012/
or VOCdevkit/VOC2012/ in it (VOC2007 likewise). The images are those that val.txt names, or all that have a mask where
there is no such list.

Which object is the truth: all objects of one class of the image. Where the model names all twenty classes (by VOC's own
names), every class of an image is an item and its target. Otherwise an image is one item with the class that covers
most pixels of its mask, and the target is the model's prediction, which may be of another object: say so when you
report it.

Truth `mask`: the pixels of the class in SegmentationClass (the void pixels, 255, are not truth). Truth `boxes`: the
objects of the class in the XML, whose pixels count from 1 and include the far edge: half-open (xmin - 1, ymin - 1, xmax,
ymax). The image is resized and cropped as one's own images are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import vxp_schemas
from numpy.typing import NDArray
from PIL import Image
from vxp_schemas import typed

from vxp.core import VxpError
from vxp.datasets import Item, Sample, Source
from vxp.datasets._copies import annotation, classes_to_explain, drawn, first_of, image_size
from vxp.datasets._images import cover, opened, rgb, tensor

CLASSES = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
           "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")
"""In a mask the first is 1."""
INSIDE = ("JPEGImages", *(f"{place}{year}/JPEGImages" for year in ("VOC2012", "VOC2007") for place in ("", "VOCdevkit/")))
WHAT = ("expected JPEGImages/, SegmentationClass/ and Annotations/ in it, in VOC2012/ or in VOCdevkit/VOC2012/ "
        "(VOCtrainval_11-May-2012.tar from host.robots.ox.ac.uk/pascal/VOC)")


def load(item: Item, folder: Path | None = None) -> Sample:
    root, recipe = within(folder), item.recipe
    image = rgb(root / "JPEGImages" / f"{recipe['image']}.jpg")
    height, width = recipe["size"]
    fit = cover(image.width, image.height, (height, width))
    inside = classes_of(root / "SegmentationClass" / f"{recipe['image']}.png") == CLASSES.index(recipe["class"]) + 1
    return Sample(tensor(fit.image(image, Image.Resampling.BILINEAR)),
                  {"mask": fit.mask(inside), "boxes": fit.boxes(recipe["boxes"], image.width, image.height)})


def listed(folder: Path, size: tuple[int, int], names: Sequence[str]) -> list[Item]:
    root = within(folder)
    return [item for stem in _stems(root) for item in _items(root, stem, size, names)]


def _items(root: Path, stem: str, size: tuple[int, int], names: Sequence[str]) -> list[Item]:
    """The items of one image; none where its mask shows no class."""
    path, mask_path = root / "JPEGImages" / f"{stem}.jpg", root / "SegmentationClass" / f"{stem}.png"
    mask = classes_of(mask_path)
    width, height = image_size(path)
    if mask.shape != (height, width):
        raise VxpError(f"{mask_path}: {mask.shape[1]} x {mask.shape[0]} pixels, expected {width} x {height} as {path.name} has")
    *_, objects = annotation(root / "Annotations" / f"{stem}.xml")
    counts = np.bincount(mask.ravel(), minlength=len(CLASSES) + 1)
    areas = {name: float(counts[i]) for i, name in enumerate(CLASSES, start=1)}
    digests = {"sha256": vxp_schemas.file_digest(path), "mask_sha256": vxp_schemas.file_digest(mask_path)}
    made = []
    for name, target, label in classes_to_explain(areas, CLASSES, names):
        boxes = [[x0 - 1, y0 - 1, x1, y1] for of, (x0, y0, x1, y1) in objects if of == name]
        recipe = {"image": stem, "class": name, "boxes": boxes, "size": list(size)} | digests
        made.append(Item(f"{stem}/{name}", stem, recipe, target, label))
    return made


def _stems(root: Path) -> list[str]:
    named = root / "ImageSets" / "Segmentation" / "val.txt"
    if named.is_file():
        return sorted(named.read_text(encoding="utf-8").split())
    return sorted(path.stem for path in (root / "SegmentationClass").glob("*.png"))


def classes_of(path: Path) -> NDArray[np.uint8]:
    """The class of every pixel [H, W]: 0 background, 1 to 20 as in CLASSES, 255 void."""
    image = opened(path)
    if image.mode not in ("P", "L"):
        raise VxpError(f"{path}: pixels of Pillow's mode {image.mode!r}, expected palette or grey, whose values are classes")
    return np.array(image)


def own(document: typed.Task, folder: Path | None = None) -> list[Item]:
    H, W = document["input_size"]
    return drawn(listed(within(folder), (H, W), ()), document)


def within(folder: Path | None) -> Path:
    """The folder that holds JPEGImages/; VxpError where there is none."""
    absent = missing(folder)
    if folder is None or absent is not None:
        raise VxpError(f"data set voc: {absent}")
    return (first_of(folder, INSIDE) or folder).parent


def missing(folder: Path | None = None) -> str | None:
    if folder is None:
        return f"name your copy by --images voc:DIR or --data DIR: {WHAT}"
    place = first_of(folder, INSIDE)
    masks = None if place is None else first_of(place.parent, ("SegmentationClass",))
    return f"{folder}: no Pascal VOC in it; {WHAT}" if masks is None else None


def at(folder: Path) -> Source:
    """The images of a folder that the user names."""
    return replace(VOC, load=partial(load, folder=folder), missing=partial(missing, folder), own=partial(own, folder=folder))


VOC = Source(
    id="voc",
    version=1,
    load=load,
    missing=missing,
    licence="Flickr's terms of use; the user's own copy",
    about="The user's own Pascal VOC: images with masks by class and boxes",
    truth=("mask", "boxes"),
    at=at,
    own=own,
    listed=listed,
)
