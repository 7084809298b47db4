"""mosaic-photos: 2x2 mosaics at 448 px of four photos' crops; the truth is the cell of the target's photo.

The tiles are items of photos@2, so the model recognises each of them alone. In the mosaic the target's probability
falls to a few thousandths: the mosaics are for localisation, probability curves say little on them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from itertools import count

import torch
import vxp_schemas

from vxp.datasets import Item, Sample, Source
from vxp.datasets._images import between, tensor, uniforms
from vxp.datasets._types import Recipe
from vxp.datasets.photos import PHOTOS, SIZE, absent, crop

CELLS = 4


def load(item: Item) -> Sample:
    tiles = [tensor(crop(tile, "mosaic-photos")) for tile in item.recipe["tiles"]]
    rows = [torch.cat(tiles[:2], dim=2), torch.cat(tiles[2:], dim=2)]
    cell = cell_mask(item.recipe["cell"])
    return Sample(torch.cat(rows, dim=1), {"mask": cell, "cells": cell.clone()})


def cell_mask(cell: int) -> torch.Tensor:
    """bool [448, 448]: the cell, counted row by row from the top left."""
    mask = torch.zeros(2 * SIZE, 2 * SIZE, dtype=torch.bool)
    top, left = cell // 2 * SIZE, cell % 2 * SIZE
    mask[top : top + SIZE, left : left + SIZE] = True
    return mask


def propose(seed: int) -> Iterator[Item]:
    """Mosaics without end, the photos being the target in turn."""
    for turn in count():
        for target in PHOTOS:
            yield _proposal(target, seed, turn)


def _proposal(target: str, seed: int, turn: int) -> Item:
    u = uniforms(seed, "mosaic-photos", target, turn)
    others = [name for name in PHOTOS if name != target]
    chosen = [others.pop(between(next(u), 0, len(others) - 1)) for _ in range(CELLS - 1)]
    cell = between(next(u), 0, CELLS - 1)
    chosen.insert(cell, target)
    tiles = [crops[between(next(u), 0, len(crops) - 1)] for crops in (_crops()[name] for name in chosen)]
    label = PHOTOS[target].label
    return Item(f"{target}/{turn:03d}", target, {"tiles": tiles, "cell": cell}, label, (label,))


@cache
def _crops() -> dict[str, list[Recipe]]:
    """The recipes of photos@2 by photo."""
    items = json.loads(vxp_schemas.registry_bytes("items/photos@2.json"))
    return {name: [item["recipe"] for item in items if item["cluster"] == name] for name in PHOTOS}


MOSAIC_PHOTOS = Source(
    id="mosaic-photos",
    version=2,
    load=load,
    propose=propose,
    missing=lambda: absent([photo.path for photo in PHOTOS.values()]),
    licence="CC0 and public domain (scikit-image), CC BY 2.0 (scikit-learn)",
    share=4,
    about="2x2 mosaics of four different photos at 448 px; the truth is the cell of the target's photo",
    truth=("mask", "cells"),
)
