"""montage: videos of ten shots, each a camera that pans over one place of a photo; what a video summariser is trained on.

1. A shot is a window of SIZE pixels that moves over a photo by the same whole pixels from frame to frame: real footage with
   exact camera motion. Its length is drawn; the ten shots of a video take FRAMES frames together.
2. The shots of a video come from few photos (PARTITIONS says how many shots each gives), in a drawn order. Shots of one photo
   show different places of it. So some footage is redundant, and some is novel in its video.
3. HELD_OUT videos are cut from other photos than the TRAINING videos.

The list of shots is data of the item: half-open ranges of frames that follow on each other from 0 to FRAMES. All draws are
keyed by seed and video [random], and all arithmetic is of integers on the photos' pixels, so the bytes are the same on every
machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, count, pairwise

import numpy as np
import torch

from vxp import random
from vxp.datasets._types import Item, Recipe, Sample, Source, Timeline
from vxp.datasets.photos import absent, photograph
from vxp.documents.shots import Segments

PURPOSE = "montage@1"
SIZE = 128
FRAMES, FPS = 240, 15
"""Of a video; the rate is nominal."""
SHORTEST, LONGEST = 12, 36
"""Frames of a shot."""
PAN = 3
"""Pixels a frame that the camera moves at most, along either axis."""
PARTITIONS = ((4, 3, 2, 1), (3, 3, 2, 1, 1), (5, 2, 1, 1, 1), (4, 2, 2, 1, 1))
"""How many shots each photo of a video gives."""
HELD_OUT, TRAINING = 20, 40

SCIKIT = "skimage/data"
PHOTOS: Mapping[str, Mapping[str, tuple[str, int, int]]] = {
    "training": {
        "brick": (f"{SCIKIT}/brick.png", 512, 512),
        "camera": (f"{SCIKIT}/camera.png", 512, 512),
        "chelsea": (f"{SCIKIT}/chelsea.png", 451, 300),
        "china": ("sklearn/datasets/images/china.jpg", 640, 427),
        "coffee": (f"{SCIKIT}/coffee.png", 600, 400),
        "coins": (f"{SCIKIT}/coins.png", 384, 303),
        "gravel": (f"{SCIKIT}/gravel.png", 512, 512),
        "hubble": (f"{SCIKIT}/hubble_deep_field.jpg", 1000, 872),
        "tissue": (f"{SCIKIT}/ihc.png", 512, 512),
    },
    "held-out": {
        "astronaut": (f"{SCIKIT}/astronaut.png", 512, 512),
        "cell": (f"{SCIKIT}/cell.png", 550, 660),
        "flower": ("sklearn/datasets/images/flower.jpg", 640, 427),
        "grass": (f"{SCIKIT}/grass.png", 512, 512),
        "retina": (f"{SCIKIT}/retina.jpg", 1411, 1411),
        "rocket": (f"{SCIKIT}/rocket.jpg", 640, 427),
    },
}
"""Path in site-packages, width and height of the photos of either split, by name."""

def segments(item: Item) -> Segments:
    """The list of shots of a video: ranges [start, end) that partition its frames."""
    return tuple((start, end) for start, end in item.recipe["segments"])


def load(item: Item) -> Sample:
    """The video, uint8 [3, FRAMES, SIZE, SIZE]."""
    frames = np.concatenate([_shot(shot, end - start, item.recipe["split"])
                             for shot, (start, end) in zip(item.recipe["shots"], segments(item), strict=True)])
    return Sample(torch.from_numpy(frames).permute(3, 0, 1, 2).contiguous(), timeline=Timeline(FRAMES, segments(item), FPS))


def _shot(shot: Recipe, n: int, split: str) -> np.ndarray:
    """The n frames of a shot, uint8 [n, SIZE, SIZE, 3]."""
    photo = np.asarray(photograph(PHOTOS[split][shot["photo"]][0], "montage"))
    (left, top), (across, down) = shot["window"], shot["pan"]
    corners = ((left + across * t, top + down * t) for t in range(n))
    return np.stack([photo[y : y + SIZE, x : x + SIZE] for x, y in corners])


def propose(seed: int) -> Iterator[Item]:
    """The videos: those that are held out, then those for training. The list ends."""
    for split, n in (("held-out", HELD_OUT), ("training", TRAINING)):
        for number in range(n):
            yield video(seed, split, f"{split}/{number:02d}")


def video(seed: int, split: str, name: str) -> Item:
    """A video of a split, by the draws of its seed and its name."""
    key, turn = random.key(seed, name, PURPOSE, "video"), count()

    def below(high: int) -> int:
        return random.integers(key, next(turn), high)

    shares = PARTITIONS[below(len(PARTITIONS))]
    photos = _shuffled(list(PHOTOS[split]), below)[: len(shares)]
    order = _shuffled([photo for photo, n in zip(photos, shares, strict=True) for _ in range(n)], below)
    ends = list(accumulate(_lengths(len(order), below), initial=0))
    shots = [_placed(photo, end - start, PHOTOS[split][photo][1:], below)
             for photo, (start, end) in zip(order, pairwise(ends), strict=True)]
    return Item(name, name, {"split": split, "fps": FPS, "segments": [list(shot) for shot in pairwise(ends)], "shots": shots})


def _shuffled(names: list[str], below: Callable[[int], int]) -> list[str]:
    """A drawn order of the names, by Fisher and Yates."""
    names = list(names)
    for last in range(len(names) - 1, 0, -1):
        other = below(last + 1)
        names[last], names[other] = names[other], names[last]
    return names


def _lengths(shots: int, below: Callable[[int], int]) -> list[int]:
    """Lengths of shots that take FRAMES together: all but the last are drawn, again until what is left is one as well."""
    while True:
        drawn = [SHORTEST + below(LONGEST - SHORTEST + 1) for _ in range(shots - 1)]
        left = FRAMES - sum(drawn)
        if SHORTEST <= left <= LONGEST:
            return [*drawn, left]


def _placed(photo: str, n: int, size: Sequence[int], below: Callable[[int], int]) -> Recipe:
    """A shot of n frames at a drawn place of its photo, width and height `size`, on which its window stays."""
    pan = [below(2 * PAN + 1) - PAN for _ in range(2)]
    window = []
    for step, side in zip(pan, size, strict=True):
        way = step * (n - 1)
        low, high = max(0, -way), side - SIZE - max(0, way)
        window.append(low + below(high - low + 1))
    return {"photo": photo, "window": window, "pan": pan}


MONTAGE = Source(
    id="montage", version=1, load=load, propose=propose,
    missing=lambda: absent([path for photos in PHOTOS.values() for path, *_ in photos.values()]),
    licence="CC0, public domain and no known restrictions (scikit-image), CC BY 2.0 (scikit-learn)",
    about="Videos of ten shots, pans over places of photos, some of which resemble each other",
    access="packages", cluster="video",
    detail="60 videos of 240 frames at 128 px. Every video is ten shots of 12 to 36 frames; a shot is a window that moves by "
           "the same whole pixels from frame to frame over one place of a photo of the scikit-image and scikit-learn wheels. "
           "The shots of a video come from four or five photos, of which one gives up to five shots and others a single one, "
           "so that footage is redundant or novel in its video. The list of shots is data of the item, as half-open ranges. "
           "20 videos are held out and cut from six photos that the 40 training videos do not have. Cluster: "
           "the video.",
)
