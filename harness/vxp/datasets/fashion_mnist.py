"""fashion-mnist: the 10,000 test images of Fashion-MNIST, from Debian's package or torchvision's folder.

Layout: t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, gzipped or not, in the folder (Debian's dataset-fashion-mnist
puts them into /usr/share/datasets/fashion-mnist) or in FashionMNIST/raw/ in it (as torchvision does). The grey image of
28 x 28 becomes RGB of three equal channels, resized to the model's input as one's own images are. There is no truth; the
label is the class of the file, the target the model's prediction.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from vxp_schemas import typed

from vxp.core import VxpError
from vxp.datasets import Item, Sample, Source
from vxp.datasets._copies import drawn, first_of
from vxp.datasets._images import covering, tensor

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
PLACES = ("", "FashionMNIST/raw/", "raw/")
WHAT = (f"expected {IMAGES} and {LABELS}, with .gz or without, in it or in FashionMNIST/raw/ in it (Debian's "
        f"dataset-fashion-mnist puts them into {DEBIAN}; torchvision downloads them)")


def load(item: Item, folder: Path | None = None) -> Sample:
    height, width = item.recipe["size"]
    grey = Image.fromarray(_images(folder)[item.recipe["index"]]).convert("RGB")
    return Sample(tensor(covering(grey, (height, width), Image.Resampling.BILINEAR)))


def listed(folder: Path | None, size: tuple[int, int], names: Sequence[str]) -> list[Item]:
    images, labels = _images(folder), _array(_path(folder, LABELS), 1)
    if len(images) != len(labels):
        raise VxpError(f"{_path(folder, LABELS)}: {len(labels)} labels for {len(images)} images, expected as many")
    made = []
    for i, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        recipe = {"index": i, "sha256": "sha256:" + hashlib.sha256(image.tobytes()).hexdigest(), "size": list(size)}
        made.append(Item(f"t10k/{i:05d}", f"t10k/{i:05d}", recipe, None, (label,)))
    return made


def own(document: typed.Task, folder: Path | None = None) -> list[Item]:
    H, W = document["input_size"]
    return drawn(listed(folder, (H, W), ()), document)


def _images(folder: Path | None) -> NDArray[np.uint8]:
    return _array(_path(folder, IMAGES), 3)


@lru_cache(maxsize=4)
def _array(path: Path, axes: int) -> NDArray[np.uint8]:
    """The bytes of an idx file (LeCun's): two zeros, type 8, the number of axes, their lengths, then the values."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise VxpError(f"{path}: cannot be read ({error}), expected a whole idx file: replace it by a sound copy") from None
    shape = [int(n) for n in np.frombuffer(content[4 : 4 + 4 * axes], dtype=">u4")]
    values = np.frombuffer(content[4 + 4 * axes :], dtype=np.uint8)
    if content[:4] != bytes([0, 0, 8, axes]) or values.size != np.prod(shape):
        raise VxpError(f"{path}: begins with {content[:4].hex()} and holds {values.size} values for the shape {shape}, "
                       f"expected an idx file of bytes with {axes} axes: replace it by a sound copy")
    return values.reshape(shape)


def _path(folder: Path | None, name: str) -> Path:
    place = folder or DEBIAN
    found = first_of(place, [f"{inside}{name}{ending}" for inside in PLACES for ending in ("", ".gz")])
    if found is None:
        raise VxpError(f"{place}: no file {name}; {WHAT}")
    return found


def missing(folder: Path | None = None) -> str | None:
    try:
        _path(folder, IMAGES)
        _path(folder, LABELS)
    except VxpError as error:
        return str(error)
    return None


def at(folder: Path) -> Source:
    """The files of a folder that the user names."""
    return replace(FASHION_MNIST, load=partial(load, folder=folder), missing=partial(missing, folder),
                   own=partial(own, folder=folder))


FASHION_MNIST = Source(
    id="fashion-mnist",
    version=1,
    load=load,
    missing=missing,
    licence="MIT",
    about="The test images of Fashion-MNIST, from Debian's package or torchvision's folder",
    at=at,
    own=own,
    listed=listed,
)
