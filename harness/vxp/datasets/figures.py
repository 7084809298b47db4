"""figures: a figure of five parts among loose things on textured ground, drawn from a seed; its parts' forms are the class.

After FunnyBirds (Hesse, Schaub-Meyer and Roth 2023, arXiv:2308.06248), in two dimensions and drawn by us:

1. A figure has a part in each of five SLOTS; every slot has three or four VARIANTS, which differ in form and colour. A class is
   one variant per slot (TABLE). Two classes differ in two slots at least, so the class is known without any one part.
2. The figure stands at a random place, size, angle and side, its parts a little moved, turned and scaled. Three to six loose
   things, in the colours of the parts, lie elsewhere; nothing of this depends on the class.
3. All draws are made before a variant is looked up. So a part that is left out or exchanged changes the pixels where it was or
   comes to be seen, and no other bit: what was behind it shows.

So the truth is causal: which parts there are decides the class, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vxp import random
from vxp.core import VxpError
from vxp.datasets._types import Item, Sample, Source

PURPOSE = "figures@1"
SIZE = 64
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "head": ("round", "box", "cone", "star"),
    "body": ("oval", "block", "diamond"),
    "wings": ("leaf", "spike", "club", "fan"),
    "feet": ("ball", "brick", "claw"),
    "tail": ("wedge", "arrow", "bob", "ring"),
}
SLOTS = tuple(VARIANTS)
MOST = max(len(names) for names in VARIANTS.values())
"""Variants of the slot that has most."""
CLASSES = ("arbo", "belu", "cimo", "dapi", "eluk", "fono", "gari", "hopu", "iwen", "jolo", "kimu", "lapo")
TABLE = (
    (0, 2, 1, 0, 1),
    (1, 1, 0, 1, 3),
    (1, 1, 1, 0, 3),
    (1, 2, 2, 2, 2),
    (2, 0, 2, 2, 3),
    (2, 0, 3, 2, 2),
    (2, 1, 1, 1, 2),
    (2, 2, 3, 2, 3),
    (3, 0, 0, 1, 1),
    (3, 0, 3, 0, 2),
    (3, 1, 0, 1, 0),
    (3, 2, 2, 0, 1),
)
"""The variant of every slot, a row per class."""

MARGIN = 2
GRAIN = 0.02
EDGE = 0.4
"""A part's outline has this share of its brightness."""
REACH = 1.25
"""No part reaches farther from the figure's middle, in units of its radius."""
PALETTE = {"red": (0.88, 0.24, 0.22), "orange": (0.96, 0.56, 0.16), "yellow": (0.97, 0.85, 0.28), "green": (0.33, 0.72, 0.30),
           "teal": (0.16, 0.70, 0.68), "blue": (0.24, 0.45, 0.88), "purple": (0.58, 0.35, 0.80), "pink": (0.95, 0.52, 0.72)}
COLOURS = {
    "head": ("red", "blue", "green", "yellow"),
    "body": ("teal", "orange", "purple"),
    "wings": ("green", "pink", "blue", "orange"),
    "feet": ("yellow", "red", "teal"),
    "tail": ("purple", "red", "yellow", "blue"),
}
PLACES = {"head": (0.0, -0.64, 0.36, 0), "body": (0.0, 0.1, 0.44, 0), "wings": (0.63, -0.12, 0.38, -20),
          "feet": (0.29, 0.72, 0.26, 0), "tail": (0.66, 0.46, 0.36, 35)}
"""Middle (x, y), half the size, and degrees of every slot in the frame of the figure, whose radius is 1; y points down. Wings
and feet are there on both sides."""
PAIRED = ("wings", "feet")
BACK_TO_FRONT = ("tail", "wings", "feet", "body", "head")

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Rendered:
    """An image uint8 [3, 64, 64] and which slot is seen at every pixel, int64 [64, 64], -1 where it is none."""

    image: Bytes
    parts: Integers

    @property
    def mask(self) -> Bools:
        """bool [64, 64]: where the figure is seen."""
        found: Bools = self.parts >= 0
        return found


@dataclass(frozen=True, eq=False)
class Scene:
    """All that is drawn from a seed: ground [3, 64, 64] with the loose things, grain [3, 64, 64], and by slot the frame of its
    part, coordinates u and v [64, 64] in which the part fits the unit square, the brightness of its colour and its texture
    [3, 64, 64]."""

    ground: Floats
    grain: Floats
    frames: Mapping[str, tuple[Floats, Floats]]
    textures: Mapping[str, Floats]


def load(item: Item) -> Sample:
    """The figure, which slot is seen at every pixel as its `part`, -1 at none, and its truth: `mask` bool [64, 64]; `without`
    uint8 [5, 3, 64, 64], the image without the part of each slot; `swapped` uint8 [5, 4, 3, 64, 64], with each variant in its
    place, the image itself where there is no such variant."""
    seed, figure = int(item.recipe["seed"]), int(item.recipe["class"])
    whole = render(seed, figure)
    without = [render(seed, figure, without=(slot,)).image for slot in range(len(SLOTS))]
    swapped = [[render(seed, figure, swap={slot: v}).image if v < len(names) else whole.image for v in range(MOST)]
               for slot, names in enumerate(VARIANTS.values())]
    return Sample(torch.tensor(whole.image), {
        "mask": torch.tensor(whole.mask), "without": torch.tensor(np.stack(without)),
        "swapped": torch.tensor(np.array(swapped))}, parts={"part": torch.tensor(whole.parts)})


def render(seed: int, figure: int, *, without: Collection[int] = (), swap: Mapping[int, int] | None = None) -> Rendered:
    """The figure of a class in the scene of a seed, an exact intervention: slots `without` a part, and by slot the variant that
    is to `swap` the class's own. Slots, variants and classes are numbers. VxpError for one that is none."""
    if not 0 <= figure < len(CLASSES):
        raise VxpError(f"figures has no class {figure}, expected 0 to {len(CLASSES) - 1}")
    swap = swap or {}
    for slot in (*without, *swap):
        if not 0 <= slot < len(SLOTS):
            raise VxpError(f"a figure has no slot {slot}, expected 0 to {len(SLOTS) - 1}: {', '.join(SLOTS)}")
    for slot, variant in swap.items():
        if not 0 <= variant < len(VARIANTS[SLOTS[slot]]):
            raise VxpError(f"the slot {SLOTS[slot]} has no variant {variant}, expected 0 to {len(VARIANTS[SLOTS[slot]]) - 1}")
    variants = tuple(None if slot in without else swap.get(slot, own) for slot, own in enumerate(TABLE[figure]))
    return assembled(seed, variants)


def assembled(seed: int, variants: Sequence[int | None]) -> Rendered:
    """The figure with these variants, one per slot, None where it has no part, in the scene of a seed."""
    made = scene(seed)
    image, parts = made.ground.copy(), np.full((SIZE, SIZE), -1, np.int64)
    for name in BACK_TO_FRONT:
        slot = SLOTS.index(name)
        variant = variants[slot]
        if variant is not None:
            inside, colours = _painted(name, variant, *made.frames[name], made.textures[name])
            image[:, inside] = colours[:, inside]
            parts[inside] = slot
    pixels = ((image + made.grain).clip(0, 1) * 255).round().astype(np.uint8)
    return Rendered(pixels, parts)


def sufficient(figure: int) -> tuple[tuple[int, ...], ...]:
    """The minimal sufficient sets of slots of a class, the smallest first: sets of slots whose variants together no other class
    has, and of which no slot can be left out. A set of slots tells the class if and only if it contains one of them."""
    found: list[tuple[int, ...]] = []
    for n in range(1, len(SLOTS) + 1):
        for slots in combinations(range(len(SLOTS)), n):
            if _tells(figure, slots) and not any(set(smaller) <= set(slots) for smaller in found):
                found.append(slots)
    return tuple(found)


def _tells(figure: int, slots: Sequence[int]) -> bool:
    return not any(all(row[slot] == TABLE[figure][slot] for slot in slots)
                   for other, row in enumerate(TABLE) if other != figure)


# ------------------------------------------------------------------------------------------------------------- the scene


@lru_cache(maxsize=64)
def scene(seed: int) -> Scene:
    """The scene of a seed; the class is not known to it."""
    draw = np.random.Generator(np.random.Philox(seed))
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    radius = draw.uniform(20, 27)
    middle = draw.uniform(radius + 1, SIZE - radius - 2, size=2)
    ground = _ground(draw, x, y)
    near = np.hypot(x - middle[0], y - middle[1]) < REACH * radius + MARGIN
    for _ in range(int(draw.integers(3, 7))):
        ground = _with_loose_thing(draw, ground, near)
    u, v = _turned(x - middle[0], y - middle[1], draw.uniform(-0.17, 0.17), radius)
    u = u * draw.choice([-1.0, 1.0])
    frames = {name: _frame(draw, name, u, v) for name in SLOTS}
    textures = {name: draw.uniform(0.88, 1.06) * np.ones((3, 1, 1)) + _waves(draw, x, y, 2, 0.05) for name in SLOTS}
    return Scene(ground, draw.normal(0, GRAIN, (3, SIZE, SIZE)), frames, textures)


def _frame(draw: np.random.Generator, name: str, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """The coordinates of a slot's own frame, of those of the figure; a little moved, turned and scaled. u points outwards."""
    x, y, half, degrees = PLACES[name]
    x, y = (x, y) + draw.uniform(-0.035, 0.035, size=2) * ([0, 1] if name == "head" else [1, 1])
    turn = np.deg2rad(degrees + draw.uniform(-8, 8))
    return _turned((np.abs(u) if name in PAIRED else u) - x, v - y, turn, half * draw.uniform(0.93, 1.07))


def _turned(x: Floats, y: Floats, angle: float, size: float) -> tuple[Floats, Floats]:
    """Coordinates in a frame that is turned by an angle, in units of a size."""
    c, s = np.cos(angle), np.sin(angle)
    return (c * x + s * y) / size, (c * y - s * x) / size


def _ground(draw: np.random.Generator, x: Floats, y: Floats) -> Floats:
    """A dull colour and four plane waves, [3, 64, 64]."""
    colour = draw.uniform(0.3, 0.7) + draw.uniform(-0.07, 0.07, size=(3, 1, 1))
    return colour + _waves(draw, x, y, 4, 0.05)


def _waves(draw: np.random.Generator, x: Floats, y: Floats, n: int, height: float) -> Floats:
    """n plane waves, [3, 64, 64] about 0."""
    found = np.zeros((3, SIZE, SIZE))
    for _ in range(n):
        angle, wavelength, phase = draw.uniform(0, 2 * np.pi), draw.uniform(5, 28), draw.uniform(0, 2 * np.pi)
        wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * (2 * np.pi / wavelength) + phase)
        found += draw.uniform(0.3 * height, height, size=(3, 1, 1)) * wave
    return found


def _with_loose_thing(draw: np.random.Generator, ground: Floats, near: Bools) -> Floats:
    """The ground with a bar, a disc or a triangle, in a colour of the parts, where the figure is not."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    u, v = _turned(x - draw.uniform(0, SIZE), y - draw.uniform(0, SIZE), draw.uniform(0, 2 * np.pi), draw.uniform(4, 8))
    form = (_bar, _disc, _triangle)[int(draw.integers(3))]
    name = tuple(PALETTE)[int(draw.integers(len(PALETTE)))]
    inside = form(u, v) & ~near
    shade = np.where(_edge(inside), EDGE, 1.0) * draw.uniform(0.85, 1.05)
    return np.where(inside, np.array(PALETTE[name])[:, None, None] * shade, ground)


# ------------------------------------------------------------------------------------------------------------- the parts


def _painted(name: str, variant: int, u: Floats, v: Floats, texture: Floats) -> tuple[Bools, Floats]:
    """Where a part is, bool [64, 64], and its colours [3, 64, 64], with outline and, of a head, eyes."""
    inside = FORMS[VARIANTS[name][variant]](u, v)
    colour = np.array(PALETTE[COLOURS[name][variant]])[:, None, None]
    image = colour * texture * np.where(_edge(inside), EDGE, 1.0)
    if name == "head":
        away = np.hypot(np.abs(u) - 0.33, v - 0.12)
        image = np.where(away < 0.27, 0.97, image)
        image = np.where(away < 0.14, 0.06, image)
    return inside, image


def _edge(inside: Bools) -> Bools:
    """The pixels of a region that have a neighbour outside it."""
    p = np.pad(inside, 1)
    return inside & ~(p[:-2, 1:-1] & p[2:, 1:-1] & p[1:-1, :-2] & p[1:-1, 2:])


def _disc(u: Floats, v: Floats) -> Any:
    return np.hypot(u, v) < 0.95


def _box(u: Floats, v: Floats) -> Any:
    return np.maximum(np.abs(u), np.abs(v)) < 0.85


def _triangle(u: Floats, v: Floats) -> Any:
    return (v < 0.8) & (np.abs(u) < 0.56 * (v + 1.05))


def _star(u: Floats, v: Floats) -> Any:
    return np.hypot(u, v) < 0.8 + 0.3 * np.cos(5 * np.arctan2(u, -v))


def _oval(u: Floats, v: Floats) -> Any:
    return np.hypot(u / 0.78, v) < 1


def _block(u: Floats, v: Floats) -> Any:
    return (np.abs(u) < 0.72) & (np.abs(v) < 0.92)


def _diamond(u: Floats, v: Floats) -> Any:
    return np.abs(u) + 0.85 * np.abs(v) < 0.95


def _leaf(u: Floats, v: Floats) -> Any:
    return np.hypot(u / 1.1, v / 0.5) < 1


def _spike(u: Floats, v: Floats) -> Any:
    return (u > -1) & (np.abs(v) < 0.34 * (1.1 - u))


def _club(u: Floats, v: Floats) -> Any:
    return (np.hypot(u - 0.55, v) < 0.5) | ((np.abs(v) < 0.2) & (np.abs(u) < 1))


def _fan(u: Floats, v: Floats) -> Any:
    return (np.hypot(u + 1.1, v) < 2) & (np.abs(v) < 0.5 * (u + 1.1))


def _brick(u: Floats, v: Floats) -> Any:
    return (np.abs(u) < 0.98) & (np.abs(v) < 0.62)


def _claw(u: Floats, v: Floats) -> Any:
    return (v > -1) & (np.abs(u) < 0.55 * (v + 1.1)) & (v < 0.3 + 0.9 * np.abs(np.cos(3 * u)))


def _wedge(u: Floats, v: Floats) -> Any:
    return (u < 0.85) & (np.abs(v) < 0.45 * (u + 1.2))


def _arrow(u: Floats, v: Floats) -> Any:
    return ((u > 0) & (np.abs(v) < 0.8 * (1 - u))) | ((np.abs(v) < 0.2) & (np.abs(u + 0.4) < 0.8))


def _ring(u: Floats, v: Floats) -> Any:
    r = np.hypot(u, v)
    return (r < 0.95) & (r > 0.42)


def _bar(u: Floats, v: Floats) -> Any:
    return (np.abs(u) < 1.6) & (np.abs(v) < 0.4)


FORMS = {"round": _disc, "box": _box, "cone": _triangle, "star": _star, "oval": _oval, "block": _block, "diamond": _diamond,
         "leaf": _leaf, "spike": _spike, "club": _club, "fan": _fan, "ball": _disc, "brick": _brick, "claw": _claw,
         "wedge": _wedge, "arrow": _arrow, "bob": _club, "ring": _ring}


def propose(seed: int) -> Iterator[Item]:
    """Figures without end, the classes in turn; each its own cluster. The foil is another class, drawn by key."""
    for number in count():
        figure, name = number % len(CLASSES), f"figure-{number:05d}"
        foil = random.integers(random.key(seed, name, PURPOSE, "foil"), 0, len(CLASSES) - 1)
        recipe = {"seed": seed * 1_000_000 + number, "class": figure, "foil": foil + (foil >= figure)}
        yield Item(name, name, recipe, None, (figure,))


FIGURES_SOURCE = Source(
    id="figures", version=1, load=load, propose=propose, missing=lambda: None, truth=("mask", "without", "swapped"),
    licence="Apache-2.0",
    about="Figures of five parts, whose forms together are the class", access="procedural",
    detail="Procedural, 64 px, any number of images; after FunnyBirds (Hesse, Schaub-Meyer and Roth 2023) in two dimensions. A "
           "figure has a head, a body, wings, feet and a tail, each one of three or four variants; twelve classes are twelve "
           "combinations, and any two differ in two parts at least. Place, size, side, pose, ground and loose things in the "
           "colours of the parts do not depend on the class. Every image comes without each part and with each variant in its "
           "place; all other pixels stay the same to the bit. The table of classes says which parts suffice to tell a class.",
)
