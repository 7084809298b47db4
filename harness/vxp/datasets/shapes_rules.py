"""shapes-rules: the images of shapes-factors with the concepts that they have, for rules that say when a model says a class.

1. Items are those of shapes-factors as they were drawn. What counts as correct is its rule: round and red, or not round on a
   bright ground. The class that is explained is what the model predicts, whether that is correct or not.
2. The examples are images as they were drawn, of seeds that neither items nor trainings have: EXAMPLES that have each concept,
   and as many that have it not. All of their concepts are known, and what the rule says of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import count

import torch
from torch import Tensor

from vxp.datasets import shapes_factors
from vxp.datasets._types import Examples, Item, Sample, Source
from vxp.datasets.shapes import CLASSES
from vxp.datasets.shapes_factors import NAMES, present, rule, scene, visible

EXAMPLES = 20
BANK_SEED = 970_000_000
"""Far from the seeds of items, of trainings and of the other bank."""


def load(item: Item) -> Sample:
    """The image, and as its truth `present` bool [8], the concepts that it has as drawn."""
    made, shape = scene(int(item.recipe["seed"])), int(item.recipe["class"])
    image, _ = made.rendered(shape)
    return Sample(torch.from_numpy(image), {"present": torch.tensor(present(made, shape))})


def propose(seed: int) -> Iterator[Item]:
    """The candidates of shapes-factors; correct is what the rule says."""
    for item in shapes_factors.propose(seed):
        correct = rule(scene(int(item.recipe["seed"])), int(item.recipe["class"]))
        yield replace(item, recipe={key: value for key, value in item.recipe.items() if key != "foil"}, label=(correct,))


def chosen(item: Item, logits: Tensor) -> int:
    """The class that the model predicts, correct or not: a rule is to follow the model where it errs, too."""
    return int(logits.argmax())


@cache
def bank(n: int = EXAMPLES) -> Examples:
    """n images that have each concept, and n that have not, as drawn, the classes in turn."""
    found: list[list[list[tuple[Tensor, Tensor, int]]]] = [[], []]
    for number in range(len(NAMES)):
        kept: tuple[list[tuple[Tensor, Tensor, int]], ...] = ([], [])
        for turn, seed in enumerate(count(BANK_SEED + number * 1_000_000)):
            if all(len(some) == n for some in kept):
                break
            made, shape = scene(seed), turn % len(CLASSES)
            has = present(made, shape)
            if len(kept[has[number]]) < n and visible(made):
                kept[has[number]].append((torch.from_numpy(made.rendered(shape)[0]), torch.tensor(has), rule(made, shape)))
        for side, some in zip(found, kept, strict=True):
            side.append(some)
    off, on = (torch.stack([torch.stack([image for image, _, _ in some]) for some in side]) for side in found)
    values = torch.stack([torch.stack([torch.stack([has for _, has, _ in some]) for some in side]) for side in found])
    labels = torch.tensor([[[label for _, _, label in some] for some in side] for side in found])
    return Examples(NAMES, on, off, values=values, labels=labels)


SHAPES_RULES = Source(
    id="shapes-rules", version=1, load=load, propose=propose, chosen=chosen, missing=lambda: None, truth=("present",),
    examples=bank, licence="Apache-2.0", access="procedural",
    about="Textured shapes with the concepts that they have, and a rule of three of them",
    detail="The images of shapes-factors@1 as they were drawn, with the eight concepts that each has or has not. What counts "
           "as correct is a rule: round and red, or not round on a bright ground. 320 further images are examples, 20 "
           "that have each concept and 20 that have not; all of their concepts are known. Procedural, any number of images.",
)
