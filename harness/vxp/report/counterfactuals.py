"""Counterfactuals as pictures: the changed image, the change by itself, and what the model says of both."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vxp.core import OK
from vxp.report.pictures import SIDE, data_uri
from vxp.report.words import spelled

Pixels = NDArray[np.uint8]
GREY = 128
"""Of a value that has not changed."""


@dataclass(frozen=True)
class Said:
    """What the model says of an image: a class and its probability."""

    name: str
    probability: float

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Said:
        """As the gallery keeps it."""
        return cls(str(facts["name"]), float(facts["probability"]))

    @property
    def words(self) -> str:
        """The class, and its probability in percent."""
        return f"{self.name}, {100 * self.probability:.0f} %"


@dataclass(frozen=True)
class Foil:
    """Of an item of the gallery: the class that its counterfactuals are to reach, and what the model says of it and of its
    counterfactual of every set."""

    name: str
    item: Said
    sets: Mapping[str, Said]


def read(folder: Path) -> dict[int, Foil]:
    """What the gallery in this folder keeps of counterfactuals, by row of the task; nothing where there are none."""
    path = folder / "said.json"
    if not path.exists():
        return {}
    return {int(e["row"]): Foil(str(e["foil"]), Said.read(e["item"]), {s: Said.read(v) for s, v in e["sets"].items()})
            for e in json.loads(path.read_text())}


@dataclass(frozen=True, eq=False)
class Cell:
    """A counterfactual of the gallery: the picture, the change and how often it is amplified, what the model says, and whether
    that is the foil; or the words that stand in its place."""

    name: str
    picture: str = ""
    change: str = ""
    gain: str = ""
    said: str = ""
    reached: bool = False
    words: str = ""


def cell(name: str, item: Pixels, made: Pixels, status: str, of: tuple[Said | None, str]) -> Cell:
    """Of an item [3, H, W] its counterfactual by one explainer; of: what the model says of it, and the foil."""
    said, foil = of
    if status != OK:
        return Cell(name, words=spelled(status))
    change = made.astype(int) - item.astype(int)
    top = int(np.abs(change).max())
    return Cell(name, enlarged(made), drawn(change), f"{GREY / top:.0f}" if top else "", said.words if said else "",
                said is not None and said.name == foil)


def enlarged(image: Pixels) -> str:
    """An image [3, H, W] as a data URI; of a small one every pixel is a square."""
    return _uri(Image.fromarray(image.transpose(1, 2, 0)))


def drawn(change: NDArray[np.int_]) -> str:
    """The change [3, H, W] in levels, of the channel that changes most: grey where there is none, lighter or darker where the
    value rose or fell, scaled so that the largest is white or black."""
    most = np.take_along_axis(change, np.abs(change).argmax(0)[None], 0)[0]
    scaled = GREY + most * (GREY - 1) / max(1, int(np.abs(most).max()))
    return _uri(Image.fromarray(scaled.round().astype(np.uint8)))


def _uri(image: Image.Image) -> str:
    times = max(1, SIDE // image.width)
    return data_uri(image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST))


def pixels(png: bytes) -> Pixels:
    """The image uint8 [3, H, W] of a PNG."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).transpose(2, 0, 1)


Cells = Sequence[Cell]
