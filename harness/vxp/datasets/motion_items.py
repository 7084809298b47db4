"""motion-items: an item that moves among things that only jitter, drawn from a seed; the class is where it goes.

1. The ground is a still texture under grain that is new in every frame. Item and distractor are sprites of one family: a
   random shape, colour and texture each, with one contrast to the ground.
2. Both walk by steps of STRIDE pixels in one of four directions, no step like the one before, and now and then land
   somewhere else. During SPAN frames the item takes the same step again and again: the class is that direction, and the item's
   positions in these frames are the mask. It lands at a random place when the span begins and again when it is over. The
   distractor takes as many steps and landings, at other times, and never the same step twice.
3. Edges meet: what leaves on one side comes in on the other.

So the class depends on the masked positions and on nothing else, and on their order in time. By 3 every place is as likely as
any other, so every single frame looks alike for all classes; by 2 so does the clip without the frames of the span. Run
backwards, a clip is one of the opposite class. The two walks differ in the order of their steps only, so the motion energy,
the sum of absolute differences of consecutive frames, is that of the item as much as of the distractor.

All arithmetic is of integers on the words of Philox [random], so the bytes are the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray

from vxp import random
from vxp.datasets._types import Item, Sample, Source

PURPOSE = "motion-items@1"
BLOCKS = 1024
"""Of four words each: more than a scene takes."""
FRAMES, SIZE = 8, 32
CLASSES = ("right", "up", "left", "down")
"""Counter-clockwise, so that the opposite of class c is (c + 2) % 4."""
DIRECTIONS = np.array([(0, 1), (-1, 0), (0, -1), (1, 0)])
"""Of the classes, as (y, x)."""
STRIDE = 3
SPAN = 4
"""Frames in which the item keeps its direction, half of all: as many are left to compare with."""
SPRITE = 7
GRAIN = 20
"""The grain is the difference of two draws below this, in levels of 8 bits."""
CONTRAST = (40, 72)
"""Least and greatest distance of a sprite's colour from that of the ground, up or down in every channel."""

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Draws:
    """Integers in turn, from the words of one recipe."""

    def __init__(self, seed: int) -> None:
        self.words: Integers = random.philox(random.key(seed, "", PURPOSE, "scene"), 0, BLOCKS).T.flatten().numpy()
        self.used = 0

    def below(self, high: int, *shape: int) -> Integers:
        """Integers in 0, ..., high - 1 of this shape: floor(u32*high / 2^32) of the next words."""
        begin, self.used = self.used, self.used + math.prod(shape)
        return (self.words[begin : self.used] * high >> 32).reshape(shape)

    def one(self, high: int) -> int:
        return int(self.below(high, 1)[0])


@dataclass(frozen=True, eq=False)
class Walker:
    """A sprite: where its upper left corner is in every frame, places [T, 2] as (y, x), its shape [S, S] and its levels
    [3, S, S]."""

    places: Integers
    shape: Bools
    levels: Integers

    def inside(self) -> Bools:
        """bool [T, H, W]: where it is."""
        found = np.zeros((FRAMES, SIZE, SIZE), bool)
        found[self._where()] = True
        return found

    def painted(self, clip: Integers) -> None:
        """Draws it into a clip [3, T, H, W]."""
        y, x = np.nonzero(self.shape)
        clip[:, *self._where()] = self.levels[:, None, y, x]

    def _where(self) -> tuple[Integers, Integers, Integers]:
        within = np.argwhere(self.shape)
        y, x = np.moveaxis((self.places[:, None] + within) % SIZE, 2, 0)
        return np.arange(FRAMES)[:, None], y, x


@dataclass(frozen=True, eq=False)
class Scene:
    """What a clip is made of: ground [3, H, W], grain [3, T, H, W], item and distractor; the item keeps its direction in the
    frames of `span`."""

    ground: Integers
    grain: Integers
    item: Walker
    distractor: Walker
    span: slice

    def clip(self) -> NDArray[np.uint8]:
        """uint8 [3, T, H, W]; the item is in front."""
        return (self.still([self.distractor, self.item]) + self.grain).clip(0, 255).astype(np.uint8)

    def still(self, walkers: Sequence[Walker]) -> Integers:
        """The ground with these walkers, without grain, [3, T, H, W]."""
        found = np.repeat(self.ground[:, None], FRAMES, 1)
        for walker in walkers:
            walker.painted(found)
        return found

    def mask(self) -> Bools:
        """bool [T, H, W]: the item in the frames of the span."""
        found = np.zeros((FRAMES, SIZE, SIZE), bool)
        found[self.span] = self.item.inside()[self.span]
        return found


def load(item: Item) -> Sample:
    made = scene(int(item.recipe["seed"]), int(item.recipe["class"]))
    return Sample(torch.from_numpy(made.clip()), {"mask": torch.from_numpy(made.mask())})


def scene(seed: int, direction: int) -> Scene:
    """The scene of one recipe: all but the item's direction in the span is drawn from the seed."""
    draws = Draws(seed)
    begin = draws.one(FRAMES - SPAN + 1)
    landings = [step for step in (begin - 1, begin + SPAN - 1) if 0 <= step < FRAMES - 1]
    steps = _jitter(draws, landings)
    steps[begin : begin + SPAN - 1] = [direction] * (SPAN - 1)
    others = [int(step) for step in draws.below(1 << 16, FRAMES - 1).argsort(kind="stable")[: len(landings)]]
    base = 96 + draws.below(64, 3)
    ground = base[:, None, None] + _texture(draws, SIZE, 4)
    item = _walker(_places(draws, steps), base, draws)
    distractor = _walker(_places(draws, _jitter(draws, others)), base, draws)
    return Scene(ground, _grain(random.key(seed, "", PURPOSE, "grain")), item, distractor, slice(begin, begin + SPAN))


def _grain(key: random.Key) -> Integers:
    """Levels [3, T, H, W], the two halves of a word each; channel w takes word w."""
    words = random.philox(key, 0, FRAMES * SIZE * SIZE)[:3].numpy()
    return (((words >> 16) * GRAIN >> 16) - ((words & 0xFFFF) * GRAIN >> 16)).reshape(3, FRAMES, SIZE, SIZE)


LANDING = -1


def _jitter(draws: Draws, landings: Sequence[int]) -> list[int]:
    """A direction per step, none like the one before, LANDING at these steps."""
    turns, found = draws.below(3, FRAMES - 1), [draws.one(4)]
    for turn in turns[1:]:
        found.append((found[-1] + 1 + int(turn)) % 4)
    return [LANDING if step in landings else direction for step, direction in enumerate(found)]


def _places(draws: Draws, steps: Sequence[int]) -> Integers:
    """Where a walk of these steps leads, int64 [T, 2]; it begins and lands anywhere."""
    anywhere = draws.below(SIZE, FRAMES, 2)
    found = [anywhere[0]]
    for landed, step in zip(anywhere[1:], steps, strict=True):
        found.append(landed if step == LANDING else found[-1] + STRIDE * DIRECTIONS[step])
    return np.stack(found) % SIZE


def _walker(places: Integers, base: Integers, draws: Draws) -> Walker:
    """A sprite on these places: a disc with bites, its colour up or down from that of the ground."""
    y, x = np.mgrid[0:SPRITE, 0:SPRITE] - SPRITE // 2
    shape = (y * y + x * x <= SPRITE * SPRITE // 4) & (draws.below(8, SPRITE, SPRITE) > 0)
    low, high = CONTRAST
    colour = base + (2 * draws.below(2, 3) - 1) * (low + draws.below(high - low, 3))
    return Walker(places, shape, colour[:, None, None] + _texture(draws, SPRITE, 1))


def _texture(draws: Draws, size: int, grid: int) -> Integers:
    """Levels [3, size, size] about 0: squares of `grid` pixels, the same in all channels, and half as much grain."""
    cells = -(-size // grid)
    squares = (draws.below(33, cells, cells) - 16).repeat(grid, 0).repeat(grid, 1)[:size, :size]
    return squares + draws.below(17, 3, size, size) - 8


def propose(seed: int) -> Iterator[Item]:
    """Clips without end, the classes in turn; each its own cluster."""
    for number in count():
        direction = number % len(CLASSES)
        recipe = {"seed": seed * 1_000_000 + number, "class": direction}
        yield Item(f"motion-{number:05d}", f"motion-{number:05d}", recipe, None, (direction,))


MOTION_ITEMS_SOURCE = Source(
    id="motion-items", version=1, load=load, propose=propose, missing=lambda: None, truth=("mask",), licence="Apache-2.0",
    about="Clips of an item that moves beside one that jitters", access="procedural", cluster="clip",
    detail="Procedural, 8 frames of 32 px, any number of clips. Two sprites walk on a still ground under grain; for four "
           "frames the item keeps one of four directions (the class), the other never does, with equal motion energy. A single "
           "frame, and the clip without these four, look alike for all classes; run backwards, a clip is one of the opposite "
           "class. The item in these frames is the causal truth. Made by integer arithmetic.",
)
