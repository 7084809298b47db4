"""shapes: one textured shape among textured bars on textured ground, drawn from a seed; the class is the shape.

1. Ground, shape and bars each get a texture of their own: a random colour plus random plane waves and grain. Colour
   and texture say nothing about the class.
2. The shape (one of CLASSES) stands at a random place, size and angle; its pixels are the mask.
3. Two to four bars stand elsewhere, at least MARGIN pixels from the shape. Every image has them, whatever its class.

So the truth is causal, not only annotated: the class depends on the masked pixels and on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vxp.datasets._types import Item, Sample, Source

SIZE = 64
CLASSES = ("disc", "square", "triangle", "cross", "ring", "star", "crescent", "bow tie")
MARGIN = 3
GRAIN = 0.04
CONTRAST = 0.3
"""Least difference of shape and ground in the channel that differs most: what is there can be seen."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def load(item: Item) -> Sample:
    image, mask = drawn(int(item.recipe["seed"]), int(item.recipe["class"]))
    return Sample(torch.tensor(image), {"mask": torch.tensor(mask)})


@lru_cache(maxsize=64)
def drawn(seed: int, shape: int) -> tuple[NDArray[np.uint8], Bools]:
    """The image uint8 [3, 64, 64] and mask bool [64, 64] of one recipe. Not to be written to: the last few are kept, since a
    trial and a gallery ask for images that a run has just made."""
    random = np.random.Generator(np.random.Philox(seed))
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    radius = random.uniform(11, 18)
    middle = random.uniform(radius + 1, SIZE - radius - 2, size=2)
    mask: Bools = _inside(CLASSES[shape], *_turned(x - middle[0], y - middle[1], random.uniform(0, 2 * np.pi), radius))
    ground = _colour(random)
    image = _texture(random, ground, x, y)
    near = (np.hypot(x - middle[0], y - middle[1]) < radius * 1.05 + MARGIN)
    for _ in range(int(random.integers(2, 5))):
        bar = _bar(random, x, y) & ~near
        image = np.where(bar, _texture(random, _colour(random), x, y), image)
    colour = _colour(random)
    while np.abs(colour - ground).max() < CONTRAST:
        colour = _colour(random)
    image = np.where(mask, _texture(random, colour, x, y), image)
    image = image + random.normal(0, GRAIN, image.shape)
    pixels = (image.clip(0, 1) * 255).round().astype(np.uint8)
    for made in (pixels, mask):
        made.setflags(write=False)
    return pixels, mask


def _turned(x: Floats, y: Floats, angle: float, radius: float) -> tuple[Floats, Floats]:
    """Coordinates in the shape's own frame, in units of its radius."""
    c, s = np.cos(angle), np.sin(angle)
    return (c * x + s * y) / radius, (c * y - s * x) / radius


def _inside(name: str, u: Floats, v: Floats) -> Any:
    """bool: which points of the shape's own frame lie in it; every shape fits the unit disc."""
    r = np.hypot(u, v)
    a, b = np.abs(u), np.abs(v)
    if name == "disc":
        return r < 0.9
    if name == "square":
        return np.maximum(a, b) < 0.72
    if name == "triangle":
        return (v > -0.5) & (v < 1 - np.sqrt(3) * a)
    if name == "cross":
        return (np.minimum(a, b) < 0.27) & (np.maximum(a, b) < 0.95)
    if name == "ring":
        return (r < 0.95) & (r > 0.5)
    if name == "star":
        return r < 0.66 + 0.33 * np.cos(5 * np.arctan2(v, u))
    if name == "crescent":
        return (r < 0.95) & (np.hypot(u - 0.5, v) > 0.75)
    return (b < 0.9 * a) & (a < 0.75)  # bow tie


def _bar(random: np.random.Generator, x: Floats, y: Floats) -> Bools:
    u, v = _turned(x - random.uniform(0, SIZE), y - random.uniform(0, SIZE), random.uniform(0, np.pi), 1.0)
    return (np.abs(u) < random.uniform(8, 20)) & (np.abs(v) < random.uniform(1.5, 3))


def _colour(random: np.random.Generator) -> Floats:
    return random.uniform(0.15, 0.85, size=(3, 1, 1))


def _texture(random: np.random.Generator, colour: Floats, x: Floats, y: Floats) -> Floats:
    """The colour and three plane waves, [3, 64, 64] about [0, 1]."""
    image = np.broadcast_to(colour, (3, SIZE, SIZE)).copy()
    for _ in range(3):
        angle, wavelength, phase = random.uniform(0, 2 * np.pi), random.uniform(4, 24), random.uniform(0, 2 * np.pi)
        wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * (2 * np.pi / wavelength) + phase)
        image += random.uniform(0.02, 0.07, size=(3, 1, 1)) * wave
    return image


def propose(seed: int) -> Iterator[Item]:
    """Images without end, the classes in turn; each its own cluster."""
    for number in count():
        shape = number % len(CLASSES)
        recipe = {"seed": seed * 1_000_000 + number, "class": shape}
        yield Item(f"shape-{number:05d}", f"shape-{number:05d}", recipe, None, (shape,))


SHAPES_SOURCE = Source(
    id="shapes", version=1, load=load, propose=propose, missing=lambda: None, truth=("mask",), licence="Apache-2.0",
    about="Textured shapes among textured bars on textured ground", access="procedural",
    detail="Procedural, 64 px, any number of images. One shape of eight (the class) at a random place, size and angle; two to "
           "four bars that say nothing; colour and texture independent of the class. The mask of the shape is the causal "
           "truth.",
)
