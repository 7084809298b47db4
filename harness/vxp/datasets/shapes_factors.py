"""shapes-factors: the images of `shapes`, of which every single factor can be set while all others stay as they were drawn.

1. A scene repeats the draws of `shapes` for a seed, and keeps them. Rendered as it was drawn, it gives the image of `shapes`
   bit for bit. No draw depends on the class.
2. A factor that is set takes the place of its draw in all that follows from it, and nothing else changes:
   `shape` the class; `colour` that of the shape; `ground` the mean of the ground's three channels, whose differences stay,
   shrunk where they would leave the range of colours; `radius` of the shape, whose centre stays at the same fraction of the
   room that the radius leaves it; `centre` in pixels, its x or y None for as drawn; `angle`; `bars` how many, those beyond
   the drawn ones by draws of the same seed that `shapes` never reaches; `texture` the mean amplitude of the waves of ground,
   bars and shape, each scaled as a whole.
3. A concept is a pair of settings of one factor, `off` and `on`, whatever the item is like. So the two renderings of an item
   are exact interventions: round is a disc against a square, ring a ring against a disc, red a red shape against a blue
   one, and so on (CONCEPTS). Whether an item has a concept as it was drawn is another question (`present`).
4. Candidates whose shape would be less than CONTRAST from its ground under a setting of a concept are not proposed.

So three truths are exact. The image with another class differs in the two shapes and nowhere else. What a concept causes is
the difference between its two renderings (`effects`). And models trained on other labels of these images have other truths:
the octant of the shape's colour (COLOURS), or a rule of three concepts (`rule`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vxp import models, random
from vxp.core import VxpError
from vxp.datasets import shapes
from vxp.datasets._types import Examples, Item, Sample, Source
from vxp.datasets.shapes import CLASSES, CONTRAST, GRAIN, MARGIN, SIZE

PURPOSE = "shapes-factors@1"
COLOURS = ("black", "blue", "green", "cyan", "red", "magenta", "yellow", "white")
"""The octants of the shape's colour: 4, 2 and 1 for red, green and blue above MIDDLE."""
ANSWERS = ("no", "yes")
"""Of the rule."""
DARKEST, MIDDLE, BRIGHTEST = 0.15, 0.5, 0.85
"""The range of the channels of a colour, and where a channel counts as bright."""
ROUND = (CLASSES.index("disc"), CLASSES.index("ring"))
"""The classes whose outline is a circle."""
MOST_BARS = 4
BANK_SEED = 950_000_000
"""Far from the seeds of items (the task's seed times a million plus a number) and of trainings (800 and 900 millions)."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Pixels = NDArray[np.uint8]
Triple = tuple[float, float, float]


# --------------------------------------------------------------------------------------------------------------- scenes


@dataclass(frozen=True)
class Do:
    """The factors that are set; None is as drawn. VxpError for a class or a number of bars that there is not."""

    shape: int | None = None
    colour: Triple | None = None
    ground: float | None = None
    radius: float | None = None
    centre: tuple[float | None, float | None] = (None, None)
    angle: float | None = None
    bars: int | None = None
    texture: float | None = None

    def __post_init__(self) -> None:
        for what, got, most in (("shape", self.shape, len(CLASSES) - 1), ("bars", self.bars, MOST_BARS)):
            if got is not None and not 0 <= got <= most:
                raise VxpError(f"shapes-factors: {what} was set to {got}, expected 0 to {most}")


AS_DRAWN = Do()


@dataclass(frozen=True, eq=False)
class Texture:
    """Three plane waves [64, 64] about 0 and their amplitudes [3, 1, 1]."""

    waves: tuple[Floats, ...]
    amplitudes: tuple[Floats, ...]

    @property
    def strength(self) -> float:
        """The mean amplitude."""
        return float(np.mean(self.amplitudes))

    def on(self, colour: Floats, strength: float | None) -> Floats:
        """The waves on a colour, [3, 64, 64], in the order of sums of `shapes`."""
        scale = 1.0 if strength is None else strength / self.strength
        image = np.broadcast_to(colour, (3, SIZE, SIZE)).copy()
        for amplitude, wave in zip(self.amplitudes, self.waves, strict=True):
            image += amplitude * scale * wave
        return image


@dataclass(frozen=True, eq=False)
class Bar:
    """Where a bar is, [64, 64], before the surroundings of the shape are left free; its colour and texture."""

    inside: Bools
    colour: Floats
    texture: Texture


@dataclass(frozen=True, eq=False)
class Scene:
    """All draws of a seed: radius, middle (x, y) and angle of the shape, its colour and texture and those of the ground,
    MOST_BARS bars of which the first `drawn_bars` are there, and the grain [3, 64, 64]."""

    radius: float
    middle: Floats
    angle: float
    ground: Floats
    ground_texture: Texture
    bars: tuple[Bar, ...]
    drawn_bars: int
    colour: Floats
    texture: Texture
    grain: Floats

    def rendered(self, shape: int, do: Do = AS_DRAWN) -> tuple[Pixels, Bools]:
        """The image uint8 [3, 64, 64] of this class and the shape's mask bool [64, 64]."""
        radius, (mx, my) = self.radius if do.radius is None else do.radius, self.centre_at(do)
        x, y = _grid()
        inside = shapes._turned(x - mx, y - my, self.angle if do.angle is None else do.angle, radius)
        mask: Bools = shapes._inside(CLASSES[shape if do.shape is None else do.shape], *inside)
        near = np.hypot(x - mx, y - my) < radius * 1.05 + MARGIN
        image = self.ground_texture.on(self.ground_at(do), do.texture)
        for bar in self.bars[: self.drawn_bars if do.bars is None else do.bars]:
            image = np.where(bar.inside & ~near, bar.texture.on(bar.colour, do.texture), image)
        image = np.where(mask, self.texture.on(self.colour_at(do), do.texture), image) + self.grain
        return (image.clip(0, 1) * 255).round().astype(np.uint8), mask

    def centre_at(self, do: Do) -> tuple[float, float]:
        """Where the middle of the shape is, x and y."""
        middle = self.middle
        if do.radius is not None:
            middle = do.radius + 1 + (middle - self.radius - 1) * (SIZE - 3 - 2 * do.radius) / (SIZE - 3 - 2 * self.radius)
        x, y = do.centre
        return float(middle[0]) if x is None else x, float(middle[1]) if y is None else y

    def ground_at(self, do: Do) -> Floats:
        """The ground's colour, [3, 1, 1]."""
        if do.ground is None:
            return self.ground
        hue = self.ground - self.ground.mean()
        room = np.where(hue > 0, BRIGHTEST - do.ground, do.ground - DARKEST)
        shrunk: Floats = do.ground + hue * min(1.0, float((room / np.abs(hue).clip(1e-9)).min()))
        return shrunk

    def colour_at(self, do: Do) -> Floats:
        """The shape's colour, [3, 1, 1]."""
        return self.colour if do.colour is None else np.array(do.colour)[:, None, None]

    def contrast(self, do: Do = AS_DRAWN) -> float:
        """The difference of shape and ground in the channel that differs most."""
        return float(np.abs(self.colour_at(do) - self.ground_at(do)).max())

    @property
    def octant(self) -> int:
        """That of the shape's colour, a place in COLOURS."""
        red, green, blue = (int(channel > MIDDLE) for channel in self.colour.flat)
        return 4 * red + 2 * green + blue


@lru_cache(maxsize=16)
def scene(seed: int) -> Scene:
    """The draws of `shapes` for this seed, in their order. Not to be written to: the last few are kept."""
    draws = np.random.Generator(np.random.Philox(seed))
    radius = draws.uniform(11, 18)
    middle = draws.uniform(radius + 1, SIZE - radius - 2, size=2)
    angle = draws.uniform(0, 2 * np.pi)
    ground, ground_texture = shapes._colour(draws), _texture(draws)
    drawn_bars = int(draws.integers(2, 5))
    bars = [_bar(draws) for _ in range(drawn_bars)]
    colour = shapes._colour(draws)
    while np.abs(colour - ground).max() < CONTRAST:
        colour = shapes._colour(draws)
    texture = _texture(draws)
    grain = draws.normal(0, GRAIN, (3, SIZE, SIZE))
    beyond = np.random.Generator(np.random.Philox(seed).jumped())
    bars += [_bar(beyond) for _ in range(MOST_BARS - drawn_bars)]
    return Scene(radius, middle, angle, ground, ground_texture, tuple(bars), drawn_bars, colour, texture, grain)


def _texture(draws: np.random.Generator) -> Texture:
    x, y = _grid()
    waves, amplitudes = [], []
    for _ in range(3):
        angle, wavelength, phase = draws.uniform(0, 2 * np.pi), draws.uniform(4, 24), draws.uniform(0, 2 * np.pi)
        waves.append(np.sin((np.cos(angle) * x + np.sin(angle) * y) * (2 * np.pi / wavelength) + phase))
        amplitudes.append(draws.uniform(0.02, 0.07, size=(3, 1, 1)))
    return Texture(tuple(waves), tuple(amplitudes))


def _bar(draws: np.random.Generator) -> Bar:
    inside = shapes._bar(draws, *_grid())
    return Bar(inside, shapes._colour(draws), _texture(draws))


@lru_cache(maxsize=1)
def _grid() -> tuple[Floats, Floats]:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    return x, y


def rendered(seed: int, shape: int, do: Do = AS_DRAWN) -> tuple[Pixels, Bools]:
    """The image uint8 [3, 64, 64] and the shape's mask bool [64, 64] of a seed and class with these factors set; without any,
    those of `shapes.drawn`."""
    return scene(seed).rendered(shape, do)


# ------------------------------------------------------------------------------------------------------------- concepts


@dataclass(frozen=True, eq=False)
class Concept:
    """A pair of settings of one factor; holds: whether a scene of a class has the concept as it was drawn, which is so beyond
    the middle of the two settings."""

    name: str
    off: Do
    on: Do
    holds: Callable[[Scene, int], bool]


DISC, SQUARE, RING = (Do(shape=CLASSES.index(name)) for name in ("disc", "square", "ring"))
RED, BLUE = Do(colour=(0.8, 0.2, 0.2)), Do(colour=(0.2, 0.2, 0.8))
CONCEPTS = (
    Concept("round", SQUARE, DISC, lambda _, shape: shape in ROUND),
    Concept("ring", DISC, RING, lambda _, shape: shape == RING.shape),
    Concept("red", BLUE, RED, lambda scene, _: COLOURS[scene.octant] == "red"),
    Concept("large", Do(radius=12.0), Do(radius=17.0), lambda scene, _: scene.radius > 14.5),
    Concept("left", Do(centre=(43.0, None)), Do(centre=(20.0, None)), lambda scene, _: bool(scene.middle[0] < 31.5)),
    Concept("ground", Do(ground=0.3), Do(ground=0.7), lambda scene, _: bool(scene.ground.mean() > MIDDLE)),
    Concept("bars", Do(bars=2), Do(bars=4), lambda scene, _: scene.drawn_bars > 3),
    Concept("texture", Do(texture=0.03), Do(texture=0.06),
            lambda scene, _: (scene.ground_texture.strength + scene.texture.strength) / 2 > 0.045),
)
NAMES = tuple(concept.name for concept in CONCEPTS)


def present(scene: Scene, shape: int) -> tuple[bool, ...]:
    """Whether each concept holds as drawn, in the order of CONCEPTS."""
    return tuple(concept.holds(scene, shape) for concept in CONCEPTS)


def rule(scene: Scene, shape: int) -> int:
    """1 where the shape is round and red, or not round on bright ground; a place in ANSWERS."""
    has = {concept.name: concept.holds(scene, shape) for concept in CONCEPTS}
    return int(has["red"] if has["round"] else has["ground"])


def visible(scene: Scene) -> bool:
    """Whether the shape keeps its contrast to the ground under every setting of a concept."""
    return all(scene.contrast(do) >= CONTRAST for concept in CONCEPTS for do in (concept.off, concept.on))


# ---------------------------------------------------------------------------------------------------------------- items


def load(item: Item) -> Sample:
    """The image and its truth: `mask` of its shape; `classes` uint8 [8, 3, 64, 64] and `class_masks` bool [8, 64, 64], the same
    scene with the shape of every class; `factors` uint8 [8, 2, 3, 64, 64], of every concept off and on; `present` bool [8]."""
    made, shape = scene(int(item.recipe["seed"])), int(item.recipe["class"])
    every = [made.rendered(c) for c in range(len(CLASSES))]
    known = {Do(shape=c): image for c, (image, _) in enumerate(every)}
    factors = [known[do] if do in known else made.rendered(shape, do)[0]
               for concept in CONCEPTS for do in (concept.off, concept.on)]
    images, masks = (torch.from_numpy(np.stack(found)) for found in zip(*every, strict=True))
    return Sample(images[shape].clone(), {
        "mask": masks[shape].clone(), "classes": images, "class_masks": masks,
        "factors": torch.from_numpy(np.stack(factors)).unflatten(0, (len(CONCEPTS), 2)),
        "present": torch.tensor(present(made, shape))})


def propose(seed: int) -> Iterator[Item]:
    """Scenes without end in which the shape is always visible, the classes in turn; each its own cluster. `foil` is the class
    that a counterfactual is to have."""
    for number, found in enumerate(_visible_seeds(seed * 1_000_000)):
        name, shape = f"factors-{number:05d}", number % len(CLASSES)
        other = random.integers(random.key(seed, name, PURPOSE, "foil"), 0, len(CLASSES) - 1)
        foil = (shape + 1 + other) % len(CLASSES)
        yield Item(name, name, {"seed": found, "class": shape, "foil": foil}, None, (shape,))


def _visible_seeds(start: int) -> Iterator[int]:
    return (seed for seed in count(start) if visible(scene(seed)))


# ------------------------------------------------------------------------------------------- examples, and what they cause


@lru_cache(maxsize=1)
def bank(n: int = 100) -> Examples:
    """n pairs of examples per concept, of seeds that no item and no training has, the classes in turn. A pair differs in the
    concept and in nothing else, so a classifier of the two sides learns no other factor. The last bank is kept."""
    pairs = [[[scene(seed).rendered(i % len(CLASSES), do)[0] for do in (concept.off, concept.on)]
              for i, seed in enumerate(islice(_visible_seeds(BANK_SEED + number * 1_000_000), n))]
             for number, concept in enumerate(CONCEPTS)]
    off, on = torch.from_numpy(np.array(pairs)).unbind(2)
    return Examples(NAMES, on.contiguous(), off.contiguous(), paired=True)


def effects(model: models.Model, items: Sequence[Item]) -> Tensor:
    """The causal effect of every concept on every class, [C, K]: the mean over items of centred logits on less off (Goyal et
    al. 2019, arXiv:1907.07165)."""
    found = []
    for item in items:
        images = load(item).truth["factors"]
        logits = models.predict(model.module, model.normalization.to_inputs(images.flatten(0, 1).float() / 255))
        found.append(logits.unflatten(0, images.shape[:2]))
    return caused(torch.stack(found))


def caused(logits: Tensor) -> Tensor:
    """`effects` [C, K] of logits [N, C, 2, K], which are centred: each less the mean of its image's logits."""
    centred = logits - logits.mean(-1, keepdim=True)
    return (centred[:, :, 1] - centred[:, :, 0]).mean(0)


SHAPES_FACTORS = Source(
    id="shapes-factors", version=1, load=load, propose=propose, missing=lambda: None,
    truth=("mask", "classes", "class_masks", "factors", "present"), examples=bank, licence="Apache-2.0",
    about="Textured shapes of which every single factor can be set", access="procedural",
    detail="Procedural, 64 px, any number of images. The images of shapes@1, with what a factor causes: every image comes "
           "re-rendered as each of the eight classes, which changes the two shapes and no other pixel, and with each of eight "
           "concepts off and on: round (a disc against a square), ring (against a disc), red (against blue), large, left, "
           "bright ground, four bars against two, strong texture. Everything else stays as it was drawn. Scenes in which a "
           "setting would hide the shape are left out.",
)
