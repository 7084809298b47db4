"""photos: crops and flips of the real photos inside the scikit-image and scikit-learn wheels.

The photos are read by path from the installed wheels and checked by SHA-256; nothing is downloaded. A crop is a square
of 70 to 100 % of the shorter side at a seeded place, flipped or not, resized to 224 x 224 by Pillow's bilinear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from PIL import Image

from vxp.core import VxpError
from vxp.datasets import Item, Sample, Source
from vxp.datasets._images import between, check, package_folder, rgb, tensor, uniforms
from vxp.datasets._types import Recipe

SIZE = 224
SMALLEST = 0.7
"""Side of the smallest crop over the photo's shorter side."""


@dataclass(frozen=True)
class Photo:
    """A photo: its path in site-packages, its size, and the ImageNet class that EfficientNet-Lite0 sees in it."""

    name: str
    path: str
    width: int
    height: int
    label: int


PHOTOS = {
    photo.name: photo
    for photo in (
        Photo("camera", "skimage/data/camera.png", 512, 512, 872),
        Photo("chelsea", "skimage/data/chelsea.png", 451, 300, 285),
        Photo("china", "sklearn/datasets/images/china.jpg", 640, 427, 698),
        Photo("coffee", "skimage/data/coffee.png", 600, 400, 967),
        Photo("flower", "sklearn/datasets/images/flower.jpg", 640, 427, 985),
        Photo("rocket", "skimage/data/rocket.jpg", 640, 427, 657),
    )
}

PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


def located(path: str) -> Path | None:
    """The file of an installed wheel by its path in site-packages; None where the package or the file is absent."""
    module, _, inside = path.partition("/")
    folder = package_folder(module)
    return folder / inside if folder is not None and (folder / inside).is_file() else None


def absent(paths: list[str]) -> str | None:
    """What to do about files that no installed wheel has; None where all are there."""
    gone = [path for path in paths if located(path) is None]
    if not gone:
        return None
    packages = sorted({PACKAGES[path.split("/")[0]] for path in gone})
    return (f"the photos {', '.join(gone)} are not there: run `pip install {' '.join(packages)}` "
            "(or `pip install 'vxp[demo]'`)")


@cache
def photograph(path: str, dataset: str) -> Image.Image:
    """The RGB pixels of a wheel's photo, checked by SHA-256 against the data set's document."""
    file = located(path)
    if file is None:
        raise VxpError(f"data set {dataset}: {absent([path])}")
    package = PACKAGES[path.split("/")[0]]
    check(file, path, dataset, remedy=f"the file is damaged or of another version of {package}; install the version "
                                      f"that the data set's document names: pip install --force-reinstall {package}")
    return rgb(file)


def crop(recipe: Recipe, dataset: str) -> Image.Image:
    """The 224 x 224 crop of a recipe: photo, box [left, top, side], flip."""
    left, top, side = recipe["box"]
    image = photograph(PHOTOS[recipe["photo"]].path, dataset)
    cut = image.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if recipe["flip"] else cut


def load(item: Item) -> Sample:
    return Sample(tensor(crop(item.recipe, "photos")))


def propose(seed: int) -> Iterator[Item]:
    """Crops without end, one of each photo in turn."""
    for turn in count():
        for photo in PHOTOS.values():
            yield _proposal(photo, seed, turn)


def _proposal(photo: Photo, seed: int, turn: int) -> Item:
    u = uniforms(seed, "photos", photo.name, turn)
    shorter = min(photo.width, photo.height)
    side = between(next(u), round(SMALLEST * shorter), shorter)
    box = [between(next(u), 0, photo.width - side), between(next(u), 0, photo.height - side), side]
    recipe = {"photo": photo.name, "box": box, "flip": next(u) < 0.5}
    return Item(f"{photo.name}/{turn:03d}", photo.name, recipe, None, (photo.label,))


PHOTOS_SOURCE = Source(
    id="photos",
    version=2,
    load=load,
    propose=propose,
    missing=lambda: absent([photo.path for photo in PHOTOS.values()]),
    licence="CC0 and public domain (scikit-image), CC BY 2.0 (scikit-learn)",
    share=4,
    about="Seeded crops and flips of six real photos inside the scikit-image and scikit-learn wheels",
)
