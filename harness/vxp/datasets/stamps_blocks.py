"""stamps-blocks: the cut-outs of stamps, each divided into six blocks, with the item rendered without each of them.

1. The item is one of `stamps`: pixel = (stamp*alpha + ground*(255 - alpha) + 127) // 255.
2. What the stamp changes, the positions where alpha > 0, is cut into strips of rows, three where its box is at least as tall
   as wide, else two; and each strip into two or three blocks of columns, so that there are six. A cut lies where the positions
   on its sides come nearest to their shares. Blocks are numbered row-major.
3. Without a block its positions show the ground, as it was photographed. So what is behind the stamp is known and nothing is
   made up, and without all blocks the image is the ground, to the bit.

The item has the digest of its label map, and another one is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vxp.core import VxpError
from vxp.datasets import stamps
from vxp.datasets._types import Item, Sample, Source

SHORT, LONG = 2, 3
"""Blocks along the shorter and the longer side of a stamp."""
BLOCKS = SHORT * LONG

Bools = NDArray[np.bool_]
Labels = NDArray[np.int64]


def load(item: Item, folder: Path | None = None) -> Sample:
    """The item of stamps, its block at every position as its `part`, -1 at none, and its truth: `mask`, that of stamps, and
    `without` uint8 [6, 3, 224, 224], the image without each block. VxpError where the blocks are others than those of the
    item."""
    whole, ground, labels = stamps.load(item, folder), _ground(item), blocks(item, folder)
    if digest(labels) != item.recipe["blocks_sha256"]:
        raise VxpError(f"item {item.id}: the blocks here have SHA-256 {digest(labels)}, expected "
                       f"{item.recipe['blocks_sha256']}: another version of Pillow resizes the stamp otherwise; install the "
                       "one that the data set's document names")
    without = torch.stack([torch.where(labels == k, ground, whole.image) for k in range(BLOCKS)])
    return Sample(whole.image, {"mask": whole.truth["mask"], "without": without}, parts={"part": labels})


def _ground(item: Item) -> Tensor:
    """The image uint8 [3, H, W] without the stamp."""
    return torch.from_numpy(stamps.ground_of(item).astype(np.uint8)).permute(2, 0, 1).contiguous()


def blocks(item: Item, folder: Path | None = None) -> Tensor:
    """The block int64 [H, W] at every position, -1 where the stamp changes nothing."""
    seen = changed(item, folder)
    rows, columns = np.nonzero(seen)
    down, across = (LONG, SHORT) if np.ptp(rows) >= np.ptp(columns) else (SHORT, LONG)
    found, strips = np.full(seen.shape, -1, np.int64), _cut(seen, 0, down)
    for k in range(down):
        strip = seen & (strips == k)[:, None]
        found = np.where(strip, k * across + _cut(strip, 1, across), found)
    return torch.from_numpy(found)


def changed(item: Item, folder: Path | None = None) -> Bools:
    """bool [H, W]: where the stamp of an item changes the ground, alpha > 0."""
    x, y = item.recipe["place"]
    cut = np.asarray(stamps.cut_out(item.recipe["stamp"], item.recipe["size"], folder))[..., 3] > 0
    found = np.zeros((stamps.SIZE, stamps.SIZE), bool)
    found[y : y + cut.shape[0], x : x + cut.shape[1]] = cut
    return found


def _cut(seen: Bools, axis: int, n: int) -> Labels:
    """Which of n groups every row (axis 0) or column (axis 1) belongs to: the first k groups end where their share of the
    positions that are seen is nearest to k/n, the first of two ends that are equally near."""
    counts = np.concatenate([[0], seen.sum(1 - axis).cumsum()])
    ends = [int(np.abs(n * counts - k * counts[-1]).argmin()) for k in range(1, n)]
    return np.searchsorted(np.array(ends), np.arange(seen.shape[axis]), side="right").astype(np.int64)


def digest(labels: Tensor) -> str:
    """SHA-256 of a label map as int8 in C order."""
    return hashlib.sha256(labels.numpy().astype(np.int8).tobytes()).hexdigest()


def propose(seed: int, folder: Path | None = None) -> Iterator[Item]:
    """The candidates of stamps, with the digest of their blocks."""
    for item in stamps.propose(seed):
        yield replace(item, recipe={**item.recipe, "blocks_sha256": digest(blocks(item, folder))})


def at(folder: Path) -> Source:
    """The stamps of a folder that the user names."""
    return replace(STAMPS_BLOCKS, load=partial(load, folder=folder), missing=partial(stamps.missing, folder),
                   propose=partial(propose, folder=folder))


STAMPS_BLOCKS = Source(
    id="stamps-blocks", version=1, load=load, propose=propose, missing=stamps.missing,
    licence="GPL-2.0 (stamps), CC0-1.0 (backgrounds); see files",
    about="Photo cut-outs on photos of ground, in six blocks each, with the image without each block",
    truth=("mask", "without"), at=at, access="download", cluster="stamp",
    detail="The items of stamps with each stamp divided into six blocks of about equal area. An item comes without each block: "
           "there the ground shows, as it was photographed, so that the removal is exact and nothing is made up in its place. "
           "The digest of the label map is part of the item. Cluster: the stamp.",
)
