"""One's own images: a folder of PNG and JPEG files, with masks where there are any.

1. Turned as the file's EXIF orientation says, converted to RGB (a transparency channel is dropped).
2. Resized so that the shorter side meets the model's input (Pillow, bilinear), then cropped around the centre.
3. DIR/masks/<name>.png of the same size, above 127 where the truth is, goes the same way with nearest neighbours.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import vxp_schemas
from PIL import Image, ImageOps

from vxp.core import VxpError
from vxp.datasets._images import covering, opened, tensor
from vxp.datasets._types import Item, Sample, Source

SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


def folder(images: Path, size: tuple[int, int]) -> tuple[list[Item], Source]:
    """The items of a folder in bytewise order of their ids, and the source that loads them at (H, W).

    Every image is decoded and hashed here, so that a run does not stop in its middle at a bad file. The ids are the
    file names with anything but A-Z a-z 0-9 . _ - replaced by `-`. Raises VxpError for a folder without images, an
    unreadable image, a mask without image or of another size, and names that become equal.
    """
    if not images.is_dir():
        raise VxpError(f"--images {images}: not a folder, expected a folder of PNG or JPEG images, a manifest (.csv or "
                       ".parquet) or ID:DIR, a copy of a data set such as voc:DIR")
    paths = sorted(p for p in images.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise VxpError(f"--images {images}: no image in it, expected files that end in .png, .jpg or .jpeg")
    masks = _masks(images, paths)
    items = sorted((_item(path, masks.get(path.stem)) for path in paths), key=lambda item: item.id)
    _refuse_equal(items, images)
    own = Source(
        id="own-images",
        version=1,
        load=partial(_load, images, size, with_mask=bool(masks)),
        missing=lambda: None,
        licence="the user's own",
        about=f"The images of the folder {images.resolve().name}",
        truth=("mask",) if masks else (),
    )
    return items, own


def _masks(images: Path, paths: list[Path]) -> dict[str, Path]:
    """The mask of each image by the image's name without suffix."""
    masks = {path.stem: path for path in sorted((images / "masks").glob("*.png"))}
    stems = [path.stem for path in paths]
    shared = {stem for stem in stems if stems.count(stem) > 1} & set(masks)
    if shared:
        raise VxpError(f"{masks[min(shared)]}: it belongs to several images of this name, expected one: "
                       "rename the images")
    stray = sorted(set(masks) - set(stems))
    if stray:
        raise VxpError(f"{masks[stray[0]]}: a mask without an image, expected {images / stray[0]}.png or .jpg")
    return masks


def _item(path: Path, mask: Path | None) -> Item:
    recipe = {"file": path.name, "sha256": vxp_schemas.file_digest(path)}
    check_pair(path, mask)
    if mask is not None:
        recipe |= {"mask": mask.name, "mask_sha256": vxp_schemas.file_digest(mask)}
    name = re.sub(r"[^A-Za-z0-9._-]", "-", path.name)[-128:]
    return Item(name, name, recipe)


def check_pair(path: Path, mask: Path | None) -> None:
    """VxpError where the image, or its mask, cannot be read, or where the mask has another size."""
    image = upright(path)
    cut = image if mask is None else opened(mask)
    if cut.size != image.size:
        raise VxpError(f"{mask}: {cut.width} x {cut.height} pixels, expected {image.width} x {image.height} as "
                       f"{path.name} has (after its EXIF orientation)")


def _refuse_equal(items: list[Item], images: Path) -> None:
    for one, other in pairwise(items):
        if one.id == other.id:
            raise VxpError(f"{images}: the files {one.recipe['file']!r} and {other.recipe['file']!r} both become the "
                           f"item {one.id!r}, expected different names: rename one")


def _load(images: Path, size: tuple[int, int], item: Item, *, with_mask: bool) -> Sample:
    mask = item.recipe.get("mask")
    return pair(images / item.recipe["file"], images / "masks" / mask if mask else None, size, with_mask=with_mask)


def pair(path: Path, mask: Path | None, size: tuple[int, int], *, with_mask: bool) -> Sample:
    """An image at (H, W), with the truth `mask` where that is asked for.

    It is empty for an image without a mask, whose localisation scores are then undefined:empty-truth.
    """
    image = tensor(covering(upright(path), size, Image.Resampling.BILINEAR))
    if not with_mask:
        return Sample(image)
    if mask is None:
        return Sample(image, {"mask": torch.zeros(size, dtype=torch.bool)})
    cut = covering(opened(mask).convert("L"), size, Image.Resampling.NEAREST)
    return Sample(image, {"mask": torch.from_numpy(np.array(cut) > 127)})


def upright(path: Path) -> Image.Image:
    """The image of a file as RGB, turned as its EXIF orientation says; VxpError where it cannot be read."""
    return ImageOps.exif_transpose(opened(path)).convert("RGB")
