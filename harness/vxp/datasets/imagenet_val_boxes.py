"""imagenet-val-boxes: the user's own ImageNet (ILSVRC 2012) validation images with their boxes.

Images and preprocessing are those of imagenet-val. The boxes are those of ILSVRC's localisation task, one XML file per
image in Annotations/CLS-LOC/val/ (as the archive of that task unpacks) or val/ (as ILSVRC2012_bbox_val_v3.tgz does),
inside the folder or inside ILSVRC/ in it. All boxes of an image are of its class and are its truth, whatever the model
predicts.

Truth `boxes`: the files count pixels from 0 and include the far edge, so the half-open box is (xmin, ymin, xmax + 1,
ymax + 1), relative to the size that the file gives. Truth `mask`: the positions in any box. Labels are the ranks of the
WordNet ids in the XML, where all 1,000 are there, otherwise not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image
from vxp_schemas import typed

from vxp.core import VxpError
from vxp.datasets import Item, Sample, Source, imagenet_val
from vxp.datasets._copies import annotation, first_of
from vxp.datasets._images import inside_boxes, rgb, tensor

PLACES = ("Annotations/CLS-LOC/val", "ILSVRC/Annotations/CLS-LOC/val", "val")
WHAT = (f"expected ILSVRC2012_val_00000001.xml and so on in one of {', '.join(PLACES)} (ILSVRC2012_bbox_val_v3.tgz from "
        "image-net.org)")


def load(item: Item, folder: Path | None = None) -> Sample:
    image = rgb(imagenet_val.at_name(item.recipe["file"], folder or imagenet_val.named()))
    fit = imagenet_val.fit(image.width, image.height, imagenet_val.size_of(item))
    boxes = fit.boxes(item.recipe["boxes"], *item.recipe["frame"])
    return Sample(tensor(fit.image(image, Image.Resampling.BILINEAR)), {"mask": inside_boxes(boxes, fit.size), "boxes": boxes})


def own(document: typed.Task, folder: Path | None = None) -> list[Item]:
    """The task's items, drawn as those of imagenet-val are."""
    place = folder or imagenet_val.named()
    return _with_boxes(imagenet_val.own(document, place), place)


def listed(folder: Path, size: tuple[int, int], names: Sequence[str]) -> list[Item]:
    return _with_boxes(imagenet_val.listed(folder, size, names), folder)


def _with_boxes(items: Sequence[Item], folder: Path) -> list[Item]:
    place = first_of(folder, PLACES)
    if place is None:
        raise VxpError(f"{folder}: no folder of boxes in it; {WHAT}")
    found = [annotation(place / f"{Path(item.id).stem}.xml") for item in items]
    ids = sorted({name for *_, boxes in found for name, _ in boxes})
    ranks = {name: i for i, name in enumerate(ids)} if len(ids) == imagenet_val.CLASSES else {}
    made = []
    for item, (width, height, named) in zip(items, found, strict=True):
        if width < 1 or height < 1:
            raise VxpError(f"{place / Path(item.id).stem}.xml: an image of {width} x {height} pixels, expected its size")
        boxes = [[x0, y0, x1 + 1, y1 + 1] for _, (x0, y0, x1, y1) in named]
        label = item.label or tuple(sorted({ranks[name] for name, _ in named if name in ranks}))
        made.append(replace(item, recipe={**item.recipe, "boxes": boxes, "frame": [width, height]}, label=label))
    return made


def missing(folder: Path | None = None) -> str | None:
    absent = imagenet_val.missing(folder)
    if absent is not None:
        return absent
    place = folder or imagenet_val.named()
    return None if first_of(place, PLACES) else f"{place}: no folder of boxes in it; {WHAT}"


def at(folder: Path) -> Source:
    """Images and boxes of a folder that the user names."""
    return replace(IMAGENET_VAL_BOXES, load=partial(load, folder=folder), missing=partial(missing, folder),
                   own=partial(own, folder=folder))


IMAGENET_VAL_BOXES = Source(
    id="imagenet-val-boxes",
    version=1,
    load=load,
    missing=missing,
    licence="ImageNet terms of access; the user's own copy",
    about="The user's own ImageNet (ILSVRC 2012) validation images with their boxes",
    truth=("mask", "boxes"),
    at=at,
    own=own,
    listed=listed,
)
