"""`python -m vxp.maintain.train_factors` trains the models `factors-colour` and `factors-rule` again, in about ten minutes on
one core.

Both see what `shapes-cnn` sees, through the same architecture, and answer something else. `factors-colour` says in which octant
the shape's colour lies, whatever the shape: it is trained on the images of `shapes-cnn`. `factors-rule` says whether the shape
is round and red, or not round on bright ground. It is trained on images in which each of the three holds in half of all, and
begins with the features of `shapes-cnn`: from nothing it learns in this time to tell most shapes from a disc, but no square.

Validation images have a seed of their own and are never trained on; the task's items have another. The logs also hold what
the concepts cause in each model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vxp import models
from vxp.datasets import shapes, shapes_factors
from vxp.datasets.shapes_factors import ANSWERS, BRIGHTEST, COLOURS, DARKEST, MIDDLE, NAMES, ROUND, Do, scene
from vxp.maintain.train_shapes import ASSETS, TRAIN_SEED, VALIDATION_SEED, Recipe, _moved, accuracy, fitted, images, write
from vxp.models.loading import SHAPES, shapes_cnn
from vxp.models.shapes_cnn import ShapesCNN

GAP = 0.03
"""Least distance of the ground's brightness from the middle where the rule is trained."""
OTHERS = tuple(c for c in range(len(shapes.CLASSES)) if c not in ROUND)

Data = tuple[Tensor, Tensor]


def coloured(start: int, n: int) -> Data:
    """Model inputs [n, 3, 64, 64] of `shapes` and the octants [n] of their shapes' colours."""
    return images(start, n)[0], torch.tensor([scene(start + i).octant for i in range(n)])


def ruled(start: int, n: int) -> Data:
    """Model inputs [n, 3, 64, 64] and what the rule says of them [n]: round, red and bright hold in half of all each, in all
    combinations in turn."""
    made = [balanced(start + i, i) for i in range(n)]
    raw = torch.from_numpy(np.stack([scene(start + i).rendered(shape, do)[0] for i, (shape, do) in enumerate(made)]))
    answers = [i >> (1 if i & 1 else 2) & 1 for i in range(n)]
    return SHAPES.to_inputs(raw.float() / 255), torch.tensor(answers)


def balanced(seed: int, number: int) -> tuple[int, Do]:
    """The class and settings of an image: the last three bits of its number say round, red and bright. The shape's colour and
    the ground's brightness are drawn anew as `shapes` draws them, until they are so and the shape is visible."""
    draws = np.random.Generator(np.random.Philox(seed).jumped(2))
    is_round, red, bright = (bool(number >> bit & 1) for bit in range(3))
    among = ROUND if is_round else OTHERS
    while True:
        r, g, b = (float(channel) for channel in draws.uniform(DARKEST, BRIGHTEST, 3))
        level = float(draws.uniform(DARKEST, BRIGHTEST, 3).mean())
        do = Do(colour=(r, g, b), ground=level)
        said = (r > MIDDLE >= max(g, b), level > MIDDLE) == (red, bright)
        if said and abs(level - MIDDLE) >= GAP and scene(seed).contrast(do) >= shapes.CONTRAST:
            return among[(number >> 3) % len(among)], do


@dataclass(frozen=True)
class Plan:
    """What a model is trained on: its images and labels of a first seed and a number, the names of its classes, a recipe, what
    its log says of the data, and whether it begins with the features of `shapes-cnn`."""

    made: Callable[[int, int], Data]
    classes: tuple[str, ...]
    recipe: Recipe
    data: str
    continued: bool = False


PLANS: Mapping[str, Plan] = {
    "factors-colour": Plan(coloured, COLOURS, Recipe(pool=14000, epochs=20), "shapes-factors@1 as drawn"),
    "factors-rule": Plan(ruled, ANSWERS, Recipe(pool=14000, epochs=16), "shapes-factors@1 with shape, colour and ground set",
                         continued=True),
}


def train(plan: Plan, validation: int = 2000) -> tuple[ShapesCNN, dict[str, object]]:
    """A trained model and its log. The pool of images is drawn once."""
    began, recipe = time.monotonic(), plan.recipe
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = ShapesCNN(len(plan.classes))
        if plan.continued:
            model.features.load_state_dict(shapes_cnn().get_submodule("features").state_dict())
        model.to(memory_format=torch.channels_last)  # a third faster on a CPU
        log = fitted(model, *plan.made(TRAIN_SEED, recipe.pool), recipe, _moved)
    fresh = accuracy(model, *plan.made(VALIDATION_SEED, validation))
    told = {key: getattr(recipe, key) for key in ("pool", "epochs", "batch", "seed")}
    return model, {"accuracy": {"top1": fresh, "n": validation,
                                "data": f"{plan.data}, seeds from {VALIDATION_SEED}, never trained on"},
                   "seconds": round(time.monotonic() - began), "threads": torch.get_num_threads(), **told,
                   "begins_with": "shapes-cnn" if plan.continued else None, "log": log}


def strengths(model: models.Model, n: int = 160) -> dict[str, float]:
    """By concept, the root mean square over the classes of what it causes, on the first n items of seed 0."""
    found = shapes_factors.effects(model, list(islice(shapes_factors.propose(0), n)))
    return {name: round(float(row.square().mean().sqrt()), 2) for name, row in zip(NAMES, found, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vxp.maintain.train_factors",
                                     description="Train the models of shapes-factors again.")
    parser.add_argument("--out", type=Path, default=ASSETS)
    parser.add_argument("--pool", type=int, help="how many images to train on")
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    like = models.load("shapes-cnn")
    print(f"shapes-cnn: effects {strengths(like)}")
    for name, plan in PLANS.items():
        usual = plan.recipe
        recipe = replace(usual, pool=given.pool or usual.pool, epochs=given.epochs or usual.epochs)
        model, log = train(replace(plan, recipe=recipe))
        found = strengths(replace(like, module=model.eval()))
        write(model, {**log, "effects": found}, given.out, name)
        print(f"{name}: top-1 {log['accuracy']}, effects {found}, after {log['seconds']} s")


if __name__ == "__main__":
    main()
