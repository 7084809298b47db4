"""Reading images with Pillow, the one decoder that pixel digests are taken with, and checking them by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import vxp_schemas
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
    """Hex SHA-256 of a uint8 image [3, H, W] as RGB in [H, W, 3] order."""
    return hashlib.sha256(image.permute(1, 2, 0).contiguous().numpy().tobytes()).hexdigest()


def covering(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    """Resized so that it just covers (H, W) with its proportions kept, then cropped around the centre.

    For a square size this is a resize of the shorter side and a centre crop. Bilinear is Pillow's, which smooths where
    it shrinks.
    """
    height, width = size
    scale = max(height / image.height, width / image.width)
    across, down = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    return centre(image.resize((across, down), resample), size)


def centre(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The (H, W) pixels around the centre; half a pixel of margin is rounded to even, as torchvision does."""
    height, width = size
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


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
