"""montage-objects: what the held-out videos of montage show at the frames that a summariser looks at, with the objects in them.

1. A video of `montage`, of which every STEP-th frame is there: 40 frames of ten shots.
2. Every photo is cut into regions once (Felzenszwalb and Huttenlocher 2004, by scikit-image, on a quarter of its size). A shot
   is a camera that pans over its photo, so a region of the photo is one object in all frames of the shot, with an exact track.
3. An object is a region of a shot's photo that takes SMALLEST of a frame at least, in one frame of the shot. Objects are
   numbered over the video, shot by shot, in the order of the regions of their photo. What is smaller belongs to no object.

A library's segmentation is no standard: the item has the digest of its label map, and another one is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vxp.core import VxpError
from vxp.datasets import montage
from vxp.datasets._types import Item, Recipe, Sample, Source, Timeline
from vxp.datasets.photos import photograph

STEP = 6
"""Frames of the video from one to the next that is looked at."""
SMALLEST = 0.03
"""Share of a frame."""
QUARTER = 4
SCALE, SIGMA, LEAST = 300, 0.8, 60
"""Of the segmentation, on the small photo: how large regions become, the blur before it, and the pixels of the smallest."""

Labels = NDArray[np.int64]


def load(item: Item) -> Sample:
    """The frames uint8 [3, 40, SIZE, SIZE] and their objects; VxpError where the objects are others than those of the item."""
    video = montage.load(item)
    picks = tuple(range(0, montage.FRAMES, STEP))
    labels = objects(item)
    if digest(labels) != item.recipe["objects_sha256"]:
        raise VxpError(f"item {item.id}: the objects here have SHA-256 {digest(labels)}, expected "
                       f"{item.recipe['objects_sha256']}: scikit-image cuts photos otherwise in another version; install the "
                       "one that the data set's document names")
    return Sample(video.image[:, list(picks)], timeline=Timeline(montage.FRAMES, montage.segments(item), montage.FPS, picks),
                  parts={"object": labels})


def objects(item: Item) -> Tensor:
    """The object int64 [40, SIZE, SIZE] at every position of the frames that are looked at, -1 at none."""
    found, first = [], 0
    for shot, (start, end) in zip(item.recipe["shots"], montage.segments(item), strict=True):
        seen = _seen(shot, [t - start for t in range(0, montage.FRAMES, STEP) if start <= t < end], item.recipe["split"])
        shares = np.stack([np.bincount(frame.ravel(), minlength=seen.max() + 1) for frame in seen]).max(0)
        large = np.flatnonzero(shares >= SMALLEST * montage.SIZE**2)
        number = np.full(seen.max() + 1, -1)
        number[large] = first + np.arange(len(large))
        found.append(number[seen])
        first += len(large)
    return torch.from_numpy(np.concatenate(found))


def _seen(shot: Recipe, frames: list[int], split: str) -> Labels:
    """The regions of a shot's photo in these frames of the shot, [n, SIZE, SIZE]."""
    (left, top), (across, down), size = shot["window"], shot["pan"], montage.SIZE
    whole = regions(montage.PHOTOS[split][shot["photo"]][0])
    corners = ((left + across * t, top + down * t) for t in frames)
    return np.stack([whole[y : y + size, x : x + size] for x, y in corners])


@lru_cache(maxsize=16)
def regions(path: str) -> Labels:
    """The region of every pixel of a photo, [H, W]."""
    try:
        from skimage.segmentation import felzenszwalb
    except ImportError:
        raise VxpError("the objects of montage-objects need scikit-image: pip install 'vxp[demo]'") from None
    photo = photograph(path, "montage")
    small = photo.resize((-(-photo.width // QUARTER), -(-photo.height // QUARTER)), Image.Resampling.BOX)
    labels = felzenszwalb(np.asarray(small), scale=SCALE, sigma=SIGMA, min_size=LEAST)
    found: Labels = labels.repeat(QUARTER, 0).repeat(QUARTER, 1)[: photo.height, : photo.width].astype(np.int64)
    found.setflags(write=False)
    return found


def digest(labels: Tensor) -> str:
    """SHA-256 of a label map as little-endian int16 in C order."""
    return hashlib.sha256(labels.numpy().astype("<i2").tobytes()).hexdigest()


def propose(seed: int) -> Iterator[Item]:
    """The held-out videos. The list ends."""
    for item in montage.propose(seed):
        if item.recipe["split"] == "held-out":
            labels = objects(item)
            yield replace(item, recipe={**item.recipe, "objects": int(labels.max()) + 1, "objects_sha256": digest(labels)})


MONTAGE_OBJECTS = Source(
    id="montage-objects", version=1, load=load, propose=propose, missing=montage.MONTAGE.missing,
    alike=lambda item: item.recipe["objects"],
    licence=montage.MONTAGE.licence, about="Videos of ten shots with the objects in them", access="packages", cluster="video",
    detail="The 20 held-out videos of montage at the 40 frames that the summariser looks at. Each photo is cut into regions "
           "once (Felzenszwalb and Huttenlocher 2004, scikit-image 0.22 or later); as a shot is a pan over its photo, a region "
           "is one object in all frames of the shot, exactly tracked. Objects take 3 % of a frame at least. The digest of the "
           "label map is part of the item. Cluster: the video.",
)
