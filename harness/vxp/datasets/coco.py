"""coco: the user's own copy of COCO, or own data in its format: images with the masks and boxes of their objects.

Layout: annotations/instances_<split>.json and the images in <split>/ or images/<split>/. Of several splits the one whose
name begins with `val` is read. An image without objects is left out.

Which object is the truth: all objects of one category of the image. Where the model names all categories of the file,
every category of an image is an item and its target. Otherwise an image is one item with the category of the largest
area (the sum of the file's `area`), and the target is the model's prediction, which may be of another object: say so
when you report it.

Truth `mask`: the pixels whose centre lies in a polygon of an object by the even-odd rule, or that its uncompressed run
lengths name (crowds included). Truth `boxes`: the objects' boxes (x, y, x + w, y + h), those of crowds left out. The
image is resized and cropped as one's own images are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import vxp_schemas
from numpy.typing import NDArray
from PIL import Image
from vxp_schemas import typed

from vxp.core import VxpError
from vxp.datasets import Item, Sample, Source
from vxp.datasets._copies import classes_to_explain, clean, drawn, first_of, image_size
from vxp.datasets._images import cover, rgb, tensor

WHAT = ("expected annotations/instances_<split>.json, such as instances_val2017.json of annotations_trainval2017.zip, and "
        "the images in <split>/ (cocodataset.org)")


@dataclass(frozen=True, eq=False)
class Instances:
    """A file of annotations: categories in order of id; id, width and height of every image; objects by image."""

    path: Path
    categories: tuple[str, ...]
    images: Mapping[str, tuple[int, int, int]]
    objects: Mapping[int, Sequence[Mapping[str, Any]]]

    def of(self, file: str, category: str) -> list[Mapping[str, Any]]:
        """The objects of this category in an image, in order of id."""
        found = self.objects.get(self.images[file][0], ())
        return sorted((thing for thing in found if thing["category"] == category), key=lambda thing: int(thing["id"]))


def load(item: Item, folder: Path | None = None) -> Sample:
    instances, recipe = the_instances(folder), item.recipe
    image = rgb(images_of(instances) / recipe["file"])
    height, width = recipe["size"]
    fit = cover(image.width, image.height, (height, width))
    objects = instances.of(recipe["file"], recipe["class"])
    inside = np.zeros((image.height, image.width), dtype=bool)
    for thing in objects:
        inside |= mask_of(thing["segmentation"], image.height, image.width, f"{instances.path}, object {thing['id']}")
    boxes = [[x, y, x + w, y + h] for x, y, w, h in (thing["bbox"] for thing in objects if not thing["crowd"])]
    return Sample(tensor(fit.image(image, Image.Resampling.BILINEAR)),
                  {"mask": fit.mask(inside), "boxes": fit.boxes(boxes, image.width, image.height)})


def mask_of(segmentation: Any, height: int, width: int, where: str) -> NDArray[np.bool_]:
    """bool [H, W] of polygons [[x, y, x, y, ...], ...] or of uncompressed run lengths {"size": [H, W], "counts": [...]}."""
    if isinstance(segmentation, list):
        inside = np.zeros((height, width), dtype=bool)
        for polygon in segmentation:
            inside |= polygon_mask(np.array(polygon, dtype=np.float64).reshape(-1, 2), height, width)
        return inside
    counts = segmentation["counts"]
    if isinstance(counts, str):
        raise VxpError(f"{where}: its run lengths are compressed, expected a list of counts or polygons as in the files of "
                       "cocodataset.org: convert it with pycocotools")
    if list(segmentation["size"]) != [height, width] or sum(counts) != height * width:
        raise VxpError(f"{where}: run lengths of {sum(counts)} pixels in {segmentation['size']}, expected [{height}, {width}]")
    # runs of 0 and 1 in turn, down the columns
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def polygon_mask(corners: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """bool [H, W]: the pixels whose centre lies in the polygon with these corners (x, y), by the even-odd rule."""
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    rows = np.arange(height)[:, None] + 0.5
    crossed = (y0 <= rows) != (y1 <= rows)  # [H, edges]
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
    # an edge turns the side of every centre to its right
    first = np.floor(np.where(crossed, at, width) + 0.5).clip(0, width).astype(np.int64)
    turns = np.zeros((height, width + 1), dtype=np.int64)
    np.add.at(turns, (np.arange(height)[:, None], first), crossed)
    inside: NDArray[np.bool_] = turns[:, :width].cumsum(axis=1) % 2 == 1
    return inside


def listed(folder: Path, size: tuple[int, int], names: Sequence[str]) -> list[Item]:
    instances = the_instances(folder)
    return [item for file in sorted(instances.images) for item in _items(instances, file, size, names)]


def _items(instances: Instances, file: str, size: tuple[int, int], names: Sequence[str]) -> list[Item]:
    """The items of one image; none where it has no object."""
    id, width, height = instances.images[file]
    areas: dict[str, float] = {}
    for thing in instances.objects.get(id, ()):
        areas[thing["category"]] = areas.get(thing["category"], 0.0) + float(thing["area"])
    chosen = classes_to_explain(areas, instances.categories, names)
    if not chosen:
        return []
    path, cluster = images_of(instances) / file, clean(str(Path(file).with_suffix("")))
    if image_size(path) != (width, height):
        raise VxpError(f"{path}: {image_size(path)} pixels, expected {(width, height)} as {instances.path} says")
    made = []
    for name, target, label in chosen:
        truth = json.dumps(instances.of(file, name), sort_keys=True).encode()
        recipe = {"file": file, "class": name, "size": list(size), "sha256": vxp_schemas.file_digest(path),
                  "truth_sha256": "sha256:" + hashlib.sha256(truth).hexdigest()}
        made.append(Item(f"{cluster}/{clean(name)}", cluster, recipe, target, label))
    return made


def own(document: typed.Task, folder: Path | None = None) -> list[Item]:
    absent = missing(folder)
    if folder is None or absent is not None:
        raise VxpError(f"data set coco: {absent}")
    H, W = document["input_size"]
    return drawn(listed(folder, (H, W), ()), document)


def the_instances(folder: Path | None) -> Instances:
    """The annotations of a copy; VxpError where there are none, or too many to choose."""
    absent = missing(folder)
    if folder is None or absent is not None:
        raise VxpError(f"data set coco: {absent}")
    path = _file(folder)
    return _read(path, path.stat().st_mtime_ns)


def _file(folder: Path) -> Path:
    found = sorted(folder.glob("annotations/instances_*.json"))
    chosen = [path for path in found if path.name.startswith("instances_val")] if len(found) > 1 else found
    if len(chosen) != 1:
        raise VxpError(f"{folder}: {len(found)} files annotations/instances_*.json, {len(chosen)} of them of a validation "
                       f"split; {WHAT}, one of them")
    return chosen[0]


@lru_cache(maxsize=4)
def _read(path: Path, _changed: int) -> Instances:
    try:
        # larger than the documents that vxp_schemas reads
        document = json.loads(path.read_bytes())
        categories = {int(c["id"]): str(c["name"]) for c in sorted(document["categories"], key=lambda c: int(c["id"]))}
        objects: dict[int, list[Mapping[str, Any]]] = {}
        for thing in document["annotations"]:
            known = {key: thing[key] for key in ("id", "category_id", "area", "bbox", "segmentation")}
            known["crowd"] = bool(thing.get("iscrowd", 0))
            known["category"] = categories[int(thing["category_id"])]
            objects.setdefault(int(thing["image_id"]), []).append(known)
        images = {str(i["file_name"]): (int(i["id"]), int(i["width"]), int(i["height"])) for i in document["images"]}
        return Instances(path, tuple(categories.values()), images, objects)
    except (KeyError, TypeError, ValueError) as error:
        raise VxpError(f"{path}: {type(error).__name__} {error}, expected COCO's instances with images, annotations and "
                       "categories") from None


def images_of(instances: Instances) -> Path:
    """The folder of the images of a split."""
    root, split = instances.path.parent.parent, instances.path.stem.removeprefix("instances_")
    place = first_of(root, (split, f"images/{split}"))
    if place is None:
        raise VxpError(f"{root}: no folder {split}/ or images/{split}/; {WHAT}")
    return place


def missing(folder: Path | None = None) -> str | None:
    if folder is None:
        return f"name your copy by --images coco:DIR or --data DIR: {WHAT}"
    return None if any(folder.glob("annotations/instances_*.json")) else f"{folder}: no COCO in it; {WHAT}"


def at(folder: Path) -> Source:
    """The images of a folder that the user names."""
    return replace(COCO, load=partial(load, folder=folder), missing=partial(missing, folder), own=partial(own, folder=folder))


COCO = Source(
    id="coco",
    version=1,
    load=load,
    missing=missing,
    licence="CC BY 4.0 (annotations), Flickr's terms of use (images); the user's own copy",
    about="The user's own COCO, or data in its format: images with masks and boxes of objects",
    truth=("mask", "boxes"),
    at=at,
    own=own,
    listed=listed,
)
