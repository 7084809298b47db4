"""Prototypes as pictures: where in an item each of those that add most is found, and the patch that it was made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vxp.datasets import figures
from vxp.models import protopnet
from vxp.report.pictures import SIDE, data_uri, overlay

KINDS = ("prototypes",)
"""The kinds that are drawn."""
SHOWN = 3
"""Prototypes of an item, those with the largest contributions."""
SOURCES = {("proto-maps", "figures-protopnet")}
"""Explainer and model of which the patches that the prototypes were made of are known."""


@dataclass(frozen=True)
class Plane:
    """A prototype in an item: its map over the item with the cell at which it is found, its number from 1, what it adds to the
    logit there, and its patch; as data URIs, "" where no patch is known."""

    picture: str
    number: int
    added: str
    patch: str


def planes(photo: Image.Image, values: NDArray[np.float32], explainer: str, model: str) -> list[Plane]:
    """The prototypes that speak for the target of an item, the largest contribution first; values [P, h, w]."""
    best = values.reshape(len(values), -1).max(1)
    chosen = [int(p) for p in np.argsort(-best, kind="stable")[:SHOWN] if best[p] > 0]
    known = (explainer, model) in SOURCES
    return [Plane(_found(photo, values[p]), p + 1, f"{best[p]:.2f}", _patch(model, p) if known else "") for p in chosen]


def _found(photo: Image.Image, plane: NDArray[np.float32]) -> str:
    """The map over the grey photo, from its least value (dark) to its largest, with the cell of the latter outlined."""
    shown = overlay(photo, plane, signed=False)
    row, column = np.unravel_index(int(plane.argmax()), plane.shape)
    across, down = shown.width / plane.shape[1], shown.height / plane.shape[0]
    box = [column * across - 1, row * down - 1, (column + 1) * across, (row + 1) * down]
    draw = ImageDraw.Draw(shown)
    draw.rectangle([box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1], outline="black")
    draw.rectangle(box, outline="white", width=2)
    return data_uri(shown)


def _patch(model: str, p: int) -> str:
    """The window of the training image that a prototype was made of; what lies beyond the border is black."""
    one = protopnet.patches(model)[p]
    image = Image.fromarray(figures.render(one.seed, one.figure).image.transpose(1, 2, 0)).crop(one.box)
    side = SIDE // 2
    return data_uri(image.resize((side, side), Image.Resampling.NEAREST))


__all__ = ["KINDS", "Plane", "planes"]
