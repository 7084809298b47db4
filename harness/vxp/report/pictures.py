"""The gallery: heat maps over their images, as small data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vxp.core import OK, VxpError, resampled
from vxp.report.folder import Entry, Picture, Run
from vxp.report.scores import role

SIZE = 160
"""Longest side in pixels."""
OPACITY = 0.62
"""Of the map over the grey image: the image stays legible, and colour means the map only."""
SEQUENTIAL, DIVERGING = "inferno", "RdBu_r"


@dataclass(frozen=True)
class Thumbnail:
    """An image as a data URI, or words where there is none."""

    uri: str
    alt: str
    width: int = 0
    height: int = 0
    words: str = ""


@dataclass(frozen=True)
class GalleryRow:
    """An item: its image, then a map per explainer."""

    item: str
    target: str
    image: Thumbnail
    maps: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Gallery:
    """Rows of items, columns of explainers; each column says which scale its maps have."""

    heads: tuple[tuple[str, str, bool], ...]
    rows: tuple[GalleryRow, ...]
    sequential: str
    diverging: str


def gallery(run: Run) -> Gallery | None:
    """The gallery of a run; None where the folder has no images."""
    if not run.pictures:
        return None
    images = [_image(picture) for picture in run.pictures]
    columns = [_column(entry, run.pictures, images) for entry in run.entries]
    rows = tuple(
        GalleryRow(picture.item, picture.target, _thumbnail(image, f"Input image {picture.item}"), tuple(c[i] for c in columns))
        for i, (picture, image) in enumerate(zip(run.pictures, images, strict=True)))
    heads = tuple((e.label, role(e.document["explainer"]), bool(e.document["explainer"]["signed"])) for e in run.entries)
    return Gallery(heads, rows, _scale(SEQUENTIAL), _scale(DIVERGING))


def _image(picture: Picture) -> Image.Image:
    try:
        with Image.open(picture.file) as opened:
            return opened.convert("RGB")
    except FileNotFoundError:
        raise VxpError(f"{picture.file} is missing: gallery/index.json names it for item {picture.item!r}; delete the folder "
                       "gallery and run the same command again") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise VxpError(f"{picture.file} is no image that can be read ({error}); delete the folder gallery and run the same "
                       "command again") from error


def _column(entry: Entry, pictures: Sequence[Picture], images: Sequence[Image.Image]) -> list[Thumbnail]:
    maps, status = entry.maps([p.row for p in pictures])
    facts = entry.document["explainer"]
    found = []
    for picture, image in zip(pictures, images, strict=True):
        alt = f"Map of {entry.label} for {picture.item}, target {picture.target}"
        state = status[picture.row]
        if state != OK:
            found.append(Thumbnail("", alt, words=state.replace(":", ": ").replace("-", " ")))
            continue
        native = maps[picture.row][None]
        found.append(_thumbnail(overlay(image, _on_image(native, image, facts["resample"]), bool(facts["signed"])), alt))
    return found


def _on_image(native: Tensor, image: Image.Image, rule: str) -> Tensor:
    """The map [h, w] on the image's grid. A map that may not be resampled is only shown resampled, by nearest."""
    space = image.height, image.width
    if rule == "bilinear":
        return resampled(native, space, "bilinear")[0]
    return resampled(native, space, "nearest")[0]


def overlay(image: Image.Image, values: Tensor, signed: bool) -> Image.Image:
    """The map in colour over the grey image.

    Normalised per map: min to max on the sequential scale; for a signed map minus to plus the largest absolute value on
    the diverging scale, so that its middle is zero.
    """
    numbers = values.to(torch.float64).numpy()
    if signed:
        largest = float(np.abs(numbers).max())
        shares = 0.5 + (numbers / (2 * largest) if largest > 0 else np.zeros_like(numbers))
    else:
        low, high = float(numbers.min()), float(numbers.max())
        shares = (numbers - low) / (high - low) if high > low else np.zeros_like(numbers)
    colours = matplotlib.colormaps[DIVERGING if signed else SEQUENTIAL](shares)[..., :3]
    grey = np.asarray(image.convert("L"), float)[..., None] / 255
    mixed = OPACITY * colours + (1 - OPACITY) * grey
    return Image.fromarray(np.rint(255 * mixed).astype(np.uint8))


def _thumbnail(image: Image.Image, alt: str) -> Thumbnail:
    small = image.copy()
    small.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS)
    return Thumbnail(_jpeg(small), alt, small.width, small.height)


def _jpeg(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _scale(name: str) -> str:
    """A colour scale as it appears, without the image under it: CSS gradient stops."""
    colours: NDArray[np.float64] = matplotlib.colormaps[name](np.linspace(0, 1, 9))[:, :3]
    return ", ".join("rgb({} {} {})".format(*(int(round(255 * c)) for c in colour)) for colour in colours)
