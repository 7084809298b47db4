"""gratings: a patch of horizontal or vertical stripes on noise; the mask is the patch.

1. Every pixel is noise between 96 and 159 in each channel.
2. A square patch of 24 px lies at a seeded place of the 64 px image.
3. In it, stripes of 3 px alternate between 32 and 223: along the rows (class 0) or along
   the columns (class 1).
"""

from collections.abc import Iterator
from itertools import count

import torch

from vxp import random
from vxp.datasets import Item, Sample, Source

SIZE, PATCH, STRIPE = 64, 24, 3


def propose(seed: int) -> Iterator[Item]:
    """Candidates without end, the classes in turn. A recipe says all that makes an image."""
    for number in count():
        name, vertical = f"{number:06d}", number % 2
        key = random.key(seed, name, "gratings@1", "place")
        top, left = (random.integers(key, draw, SIZE - PATCH + 1) for draw in (0, 1))
        recipe = {"seed": seed, "top": top, "left": left, "vertical": vertical}
        yield Item(name, cluster=name, recipe=recipe, label=(vertical,))


def load(item: Item) -> Sample:
    """The image uint8 [3, 64, 64] of a recipe, and its mask bool [64, 64]."""
    top, left = item.recipe["top"], item.recipe["left"]
    key = random.key(item.recipe["seed"], item.id, "gratings@1", "noise")
    noise = 96 + 64 * random.uniforms(key, 0, SIZE * SIZE, 3)
    image = noise.to(torch.uint8).view(3, SIZE, SIZE)
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[top : top + PATCH, left : left + PATCH] = True
    light = torch.arange(PATCH) // STRIPE % 2 == 1
    line = torch.where(light, 223, 32).to(torch.uint8)
    patch = (line[None, :] if item.recipe["vertical"] else line[:, None]).expand(PATCH, PATCH)
    image[:, top : top + PATCH, left : left + PATCH] = patch
    return Sample(image, {"mask": mask})


GRATINGS = Source(
    id="gratings",
    version=1,
    load=load,
    missing=lambda: None,
    licence="Apache-2.0",
    about="Procedural stripes on noise, with exact masks",
    truth=("mask",),
    propose=propose,
    access="procedural",
)
