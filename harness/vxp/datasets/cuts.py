"""cuts: clips of two shots with one cut, and a flash that is none.

1. A shot is a window that moves over a photo by the same whole pixels from frame to frame: real footage with exact camera
   motion. Every pixel of a frame is the mean of REDUCED x REDUCED of the photo's, so the camera moves by parts of a pixel.
2. The clip shows one photo up to frame k - 1 and another from frame k on. The truth `mask` is both frames, whole.
3. Another frame, at least APART frames away from these, is lit by a flash. The picture changes before it and after it, and no
   shot ends there: a map that looks for change alone finds the flash.

Every clip has another pair of photos, its cluster. What counts as right are the frame before the cut, where the detector that
the task explains marks it, and one frame more or less. All draws are keyed by seed and clip [random], and all arithmetic is of
integers on the photos' pixels, so the bytes are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, count

import numpy as np
import torch
from numpy.typing import NDArray

from vxp import random
from vxp.datasets._types import Item, Recipe, Sample, Source
from vxp.datasets.montage import PHOTOS as SPLITS
from vxp.datasets.photos import absent, photograph

PURPOSE = "cuts@1"
FRAMES, HEIGHT, WIDTH = 12, 27, 48
REDUCED = 4
"""Pixels of the photo, along either axis, that one of a frame is the mean of."""
PAN = 3
"""Pixels of the photo that the camera moves a frame at most, along either axis."""
FIRST, LAST = 3, 9
"""Where the second shot begins, least and most."""
APART = 3
"""Frames between the flash and either frame of the cut, at least."""
FLASH = (30, 45)
"""Percent of what a level lacks to 255 that a flash adds, least and most."""
PHOTOS = {name: facts for split in ("training", "held-out") for name, facts in SPLITS[split].items()}
"""Path in site-packages, width and height of the photos by name: those of `montage`."""

Draw = Callable[[int], int]
"""A whole number below another."""


def load(item: Item) -> Sample:
    """The clip, uint8 [3, FRAMES, HEIGHT, WIDTH], and the frames of its cut."""
    recipe = item.recipe
    cut = recipe["cut"]
    before, after = (_shot(shot) for shot in recipe["shots"])
    clip = np.concatenate([before[:cut], after[cut:]])
    clip[recipe["flash"]] = _lit(clip[recipe["flash"]], recipe["percent"])
    mask = torch.zeros(clip.shape[:3], dtype=torch.bool)
    mask[cut - 1 : cut + 1] = True
    return Sample(torch.from_numpy(clip.astype(np.uint8)).permute(3, 0, 1, 2).contiguous(), {"mask": mask})


def _shot(shot: Recipe) -> NDArray[np.int64]:
    """Levels [FRAMES, HEIGHT, WIDTH, 3] of a camera on a photo, all along the clip."""
    photo = np.asarray(photograph(PHOTOS[shot["photo"]][0], "cuts"), dtype=np.int64)
    (left, top), (across, down) = shot["window"], shot["pan"]
    H, W = HEIGHT * REDUCED, WIDTH * REDUCED
    corners = ((left + across * t, top + down * t) for t in range(FRAMES))
    views = np.stack([photo[y : y + H, x : x + W] for x, y in corners])
    sums = views.reshape(FRAMES, HEIGHT, REDUCED, WIDTH, REDUCED, 3).sum((2, 4))
    found: NDArray[np.int64] = (2 * sums + REDUCED**2) // (2 * REDUCED**2)
    return found


def _lit(frame: NDArray[np.int64], percent: int) -> NDArray[np.int64]:
    """The frame under a flash: of what a level lacks to 255 so many percent are added, rounded, halves up."""
    return frame + ((255 - frame) * percent + 50) // 100


def propose(seed: int) -> Iterator[Item]:
    """Clips without end: every pair of photos once in a drawn order, then again in another one with other draws."""
    for turn in count():
        def place(pair: tuple[str, str], turn: int = turn) -> float:
            return float(random.uniforms(random.key(seed, "-".join(pair), PURPOSE, f"order/{turn}"), 0, 1)[0, 0])

        for pair in sorted(combinations(sorted(PHOTOS), 2), key=place):
            yield _clip(pair, seed, turn)


def _clip(pair: tuple[str, str], seed: int, turn: int) -> Item:
    """A clip of this pair, either of which comes first."""
    cluster = "-".join(pair)
    key, number = random.key(seed, cluster, PURPOSE, f"clip/{turn}"), count()

    def below(high: int) -> int:
        return random.integers(key, next(number), high)

    shots = [_placed(photo, below) for photo in (pair[::-1] if below(2) else pair)]
    cut = FIRST + below(LAST - FIRST + 1)
    free = [t for t in range(1, FRAMES - 1) if t <= cut - 1 - APART or t >= cut + APART]
    flash = free[below(len(free))]
    low, high = FLASH
    recipe = {"shots": shots, "cut": cut, "flash": flash, "percent": low + below(high - low + 1)}
    return Item(f"{cluster}/{turn}", cluster, recipe, None, (cut - 2, cut - 1, cut))


def _placed(photo: str, below: Draw) -> Recipe:
    """A shot at a drawn place of its photo, on which its window stays all along the clip."""
    window, pan = [], []
    for side, shown in zip(PHOTOS[photo][1:], (WIDTH, HEIGHT), strict=True):
        room = side - shown * REDUCED
        most = min(PAN, room // (FRAMES - 1))
        step = below(2 * most + 1) - most
        way = step * (FRAMES - 1)
        pan.append(step)
        window.append(max(0, -way) + below(room - abs(way) + 1))
    return {"photo": photo, "window": window, "pan": pan}


CUTS = Source(
    id="cuts", version=1, load=load, propose=propose,
    missing=lambda: absent([path for path, *_ in PHOTOS.values()]), truth=("mask",),
    licence="CC0, public domain and no known restrictions (scikit-image), CC BY 2.0 (scikit-learn)",
    about="Clips of two shots with one cut, and a flash that is none", access="packages", cluster="pair",
    detail="Clips of 12 frames of 48 x 27 pixels, any number. A clip shows two of the 15 photos of the scikit-image and "
           "scikit-learn wheels, each by a window that moves evenly over it, and cuts from one to the other at a drawn frame. "
           "One other frame, three or more away, is lit by a flash: the picture changes before it and after it, and no shot "
           "ends there. The truth is the last frame before the cut and the first one after it, whole. Cluster: the pair of "
           "photos.",
)
