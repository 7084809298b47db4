"""stamps-video: two photo cut-outs, shown one after the other while a camera pans over a photo of ground.

1. The camera: a window of SIZE pixels moves over a photo of brick, grass or gravel by the same whole pixels in every frame.
2. Two stamps of different classes lie on that ground, the longer side 65 to 90 % of SIZE. Each is there in SPAN frames, in
   which it is seen whole, and the two in no frame together; two frames show the ground alone. Composited as in `stamps`.
3. Every clip gives two items, one for either stamp as the target. The truth is the target's mask, alpha > 127, in its frames;
   the other stamp is the distractor.

So a map that asks neither the model nor the target points at the right frame in one item of a clip at most: references that
look for edges or motion find both stamps alike.

Stamps are drawn among those that a model of images is sure of (assets/stamps_video.json says how they were found). The bytes
follow from whole numbers drawn by Philox, Pillow's resize and integer arithmetic. The stamps are under the GPL-2: they are read
from where they are installed or unpacked and are no part of this project.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.resources import files
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vxp.datasets import Item, Sample, Source
from vxp.datasets._images import between, uniforms
from vxp.datasets._types import Recipe
from vxp.datasets.photos import photograph
from vxp.datasets.stamps import GROUND_SIDE, GROUNDS, composite, mapping, missing

FRAMES, SIZE = 8, 160
SPAN = 3
"""Frames in which a stamp is there."""
BEGINS = tuple((a, b) for a in range(FRAMES) for b in range(a + SPAN, FRAMES - SPAN + 1))
"""First frames of the stamp that comes first and of the one that comes second."""
SMALLEST, LARGEST = 0.65, 0.9
"""Longer side of a stamp over the side of the frames."""
PAN = 6
"""Pixels a frame that the camera moves at most, along either axis."""
PURPOSE = "stamps-video"


@cache
def known() -> tuple[str, ...]:
    """The stamps that are drawn from, by their path in the package without .png."""
    return tuple(json.loads(files("vxp").joinpath("assets", "stamps_video.json").read_bytes())["stamps"])


def load(item: Item, folder: Path | None = None) -> Sample:
    recipe = item.recipe
    ground = np.asarray(photograph(GROUNDS[recipe["ground"]], "stamps"), dtype=np.uint32)
    frames, masks = zip(*(_frame(recipe, t, ground, folder) for t in range(FRAMES)), strict=True)
    return Sample(torch.stack(frames, 1), {"mask": torch.stack(masks)})


def _frame(recipe: Recipe, t: int, ground: np.ndarray, folder: Path | None) -> tuple[Tensor, Tensor]:
    """Frame t, uint8 [3, SIZE, SIZE], and the target's mask in it, bool [SIZE, SIZE]."""
    left, top = _camera(recipe["window"], recipe["pan"], t)
    view = ground[top : top + SIZE, left : left + SIZE]
    for role in ("target", "distractor"):
        stamp = recipe[role]
        if 0 <= t - stamp["begin"] < SPAN:
            x, y = stamp["place"]
            frame, mask = composite(stamp["stamp"], stamp["size"], (x - left, y - top), view, folder)
            return frame, mask & (role == "target")
    return torch.from_numpy(view.astype(np.uint8)).permute(2, 0, 1), torch.zeros(SIZE, SIZE, dtype=torch.bool)


def _camera(window: Sequence[int], pan: Sequence[int], t: int) -> tuple[int, int]:
    """Left and top of the window in the photo at frame t."""
    return window[0] + pan[0] * t, window[1] + pan[1] * t


def propose(seed: int) -> Iterator[Item]:
    """Clips without end, two items each: every stamp once in a seeded order, two to a clip, then again in another order. Two
    that share a class make no clip."""
    number = count()
    for turn in count():
        draws = {stamp: next(uniforms(seed, PURPOSE, stamp, turn)) for stamp in known()}
        order = sorted(draws, key=lambda name: draws[name])
        for pair in zip(order[::2], order[1::2], strict=False):
            if not set(mapping()[pair[0]]) & set(mapping()[pair[1]]):
                yield from _clip(pair, seed, next(number))


def _clip(pair: Sequence[str], seed: int, number: int) -> Iterator[Item]:
    """The items of one clip, in which the first stamp of the pair comes first."""
    u = uniforms(seed, PURPOSE, number)
    ground = list(GROUNDS)[between(next(u), 0, len(GROUNDS) - 1)]
    pan = [between(next(u), -PAN, PAN) for _ in range(2)]
    window = [between(next(u), *_room(step)) for step in pan]
    begins = BEGINS[between(next(u), 0, len(BEGINS) - 1)]
    shown = [_placed(stamp, begin, window, pan, u) for stamp, begin in zip(pair, begins, strict=True)]
    clip = f"clip-{number:03d}"
    for target, distractor in (shown, shown[::-1]):
        recipe = {"ground": ground, "pan": pan, "window": window, "target": target, "distractor": distractor}
        stamp = str(target["stamp"])
        yield Item(f"{clip}/{stamp.rpartition('/')[2]}", clip, recipe, None, mapping()[stamp])


def _room(step: int) -> tuple[int, int]:
    """Where the window may begin along an axis, so that it stays on the photo while it moves by this step."""
    way = step * (FRAMES - 1)
    return max(0, -way), GROUND_SIDE - SIZE - max(0, way)


def _placed(
    stamp: str, begin: int, window: Sequence[int], pan: Sequence[int], u: Iterator[float]
) -> Recipe:
    """A stamp's part of a recipe: its place on the photo is seen whole in all of its frames."""
    size = between(next(u), round(SMALLEST * SIZE), round(LARGEST * SIZE))
    seen = [_camera(window, pan, t) for t in range(begin, begin + SPAN)]
    place = [between(next(u), max(corners), min(corners) + SIZE - size) for corners in zip(*seen, strict=True)]
    return {"stamp": stamp, "size": size, "begin": begin, "place": place}


def chosen(item: Item, logits: Tensor) -> int | None:
    """The class that is explained, of the logits [K] of the clip: of the target's classes the highest. None unless the model is
    right of both stamps of the clip: the highest class, where the other stamp's are left out, is one of the stamp's own."""
    stamps = [item.recipe[role]["stamp"] for role in ("target", "distractor")]
    target, distractor = (_highest(logits, without=mapping()[stamp]) for stamp in reversed(stamps))
    return target if target in mapping()[stamps[0]] and distractor in mapping()[stamps[1]] else None


def _highest(logits: Tensor, without: Sequence[int]) -> int:
    left = logits.clone()
    left[list(without)] = -torch.inf
    return int(left.argmax())


def at(folder: Path) -> Source:
    """The stamps of a folder that the user names."""
    return replace(STAMPS_VIDEO, load=partial(load, folder=folder), missing=partial(missing, folder))


STAMPS_VIDEO = Source(
    id="stamps-video", version=1, load=load, propose=propose, missing=missing, truth=("mask",), at=at, chosen=chosen,
    licence="GPL-2 (stamps), CC0 (backgrounds)",
    share=2,
    about="Photo cut-outs of two classes, shown one after the other while a camera pans over a photo of ground; the truth is "
          "one of them, with exact masks and frames",
)
