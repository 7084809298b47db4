"""Reading images with Pillow, the one decoder that pixel digests are taken with, and checking them by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import vxp_schemas
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vxp.core import VxpError

EIGHT_BIT = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"})


def opened(path: Path) -> Image.Image:
    """The decoded image of a file as it is stored; VxpError that names the file where it cannot be read."""
    try:
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError:
        raise VxpError(f"{path}: no such file, expected an image") from None
    except UnidentifiedImageError:
        raise VxpError(f"{path}: not an image that Pillow can read, expected a PNG or JPEG: "
                       "remove or replace it") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise VxpError(f"{path}: the image cannot be decoded ({error}), expected a whole PNG or JPEG: "
                       "replace it by a sound copy") from None
    if image.mode not in EIGHT_BIT:
        raise VxpError(f"{path}: pixels of Pillow's mode {image.mode!r}, expected 8 bits per channel: "
                       "convert the image")
    return image


def rgb(path: Path) -> Image.Image:
    """The image as 8-bit RGB; a transparency channel is dropped."""
    return opened(path).convert("RGB")


def tensor(image: Image.Image) -> Tensor:
    """uint8 [3, H, W] of an RGB image."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def pixel_sha256(image: Tensor) -> str:
    """Hex SHA-256 of a uint8 image [3, H, W] as RGB in [H, W, 3] order; of a clip [3, T, H, W] in [T, H, W, 3] order."""
    return hashlib.sha256(image.movedim(0, -1).contiguous().numpy().tobytes()).hexdigest()


@dataclass(frozen=True)
class Fit:
    """A resize to (across, down) and the (H, W) pixels around its centre: one geometry for an image and its truth.

    Half a pixel of margin is rounded to even, as torchvision does.
    """

    across: int
    down: int
    size: tuple[int, int]

    @property
    def place(self) -> tuple[int, int]:
        """Left and top of the crop in the resized image."""
        height, width = self.size
        return round((self.across - width) / 2), round((self.down - height) / 2)

    def image(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        """Bilinear is Pillow's, which smooths where it shrinks."""
        (left, top), (height, width) = self.place, self.size
        return image.resize((self.across, self.down), resample).crop((left, top, left + width, top + height))

    def mask(self, inside: NDArray[np.bool_]) -> Tensor:
        """bool [H, W] of a mask on the pixels of the whole image, by nearest neighbours."""
        whole = Image.fromarray(inside.astype(np.uint8) * 255)
        return torch.from_numpy(np.array(self.image(whole, Image.Resampling.NEAREST)) > 127)

    def boxes(self, boxes: Sequence[Sequence[float]], width: float, height: float) -> Tensor:
        """int64 [N, 4] of half-open boxes (x0, y0, x1, y1) on an image of width x height.

        Edges go to the nearest pixel edge (halves up) and are clipped to the crop; a box without area is left out.
        """
        (left, top), (H, W) = self.place, self.size
        edges = np.array(boxes, dtype=np.float64).reshape(-1, 4) * ([self.across / width, self.down / height] * 2)
        moved = np.floor(edges + 0.5).astype(np.int64) - [left, top, left, top]
        clipped = moved.clip(0, [W, H, W, H])
        return torch.from_numpy(clipped[(clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])])


def cover(width: int, height: int, size: tuple[int, int]) -> Fit:
    """The resize with proportions kept that just covers (H, W), and the crop around the centre.

    For a square size this is a resize of the shorter side and a centre crop.
    """
    scale = max(size[0] / height, size[1] / width)
    return Fit(max(size[1], round(width * scale)), max(size[0], round(height * scale)), size)


def covering(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    """The image resized and cropped as `cover` says."""
    return cover(image.width, image.height, size).image(image, resample)


def inside_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """bool [H, W]: the positions in any of the half-open boxes int64 [N, 4]."""
    inside = torch.zeros(size, dtype=torch.bool)
    for x0, y0, x1, y1 in boxes.tolist():
        inside[y0:y1, x0:x1] = True
    return inside


def package_folder(module: str) -> Path | None:
    """Where an installed package keeps its files, without importing it; None where it is not installed."""
    spec = find_spec(module)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None


@cache
def digests(dataset: str) -> dict[str, str]:
    """The SHA-256 of every file that a registered data set is read from, by its path in the document."""
    files = vxp_schemas.registry_document("datasets", dataset)["files"]
    return {file["path"]: file["digest"] for file in files}


def check(path: Path, name: str, dataset: str, *, remedy: str) -> None:
    """VxpError where the file's bytes are not those of the data set's document; `name` is its path there."""
    expected, got = digests(dataset)[name], vxp_schemas.file_digest(path)
    if got != expected:
        raise VxpError(f"{path}: {got}, expected {expected} by the data set {dataset}: {remedy}")


def uniforms(seed: int, *names: str | int) -> Iterator[float]:
    """Uniform numbers in [0, 1) keyed by a seed and names, from the raw words of a local Philox4x64.

    NumPy keeps the words of a bit generator the same over its versions, but not what a Generator makes of them.
    """
    text = vxp_schemas.canonical([seed, *names])
    words = np.random.Philox(key=int.from_bytes(hashlib.sha256(text).digest()[:16], "little"))
    while True:
        yield (int(words.random_raw()) >> 11) * 2.0**-53


def between(uniform: float, low: int, high: int) -> int:
    """The integer in [low, high] that a uniform number picks."""
    return low + int(uniform * (high - low + 1))
