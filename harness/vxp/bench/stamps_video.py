"""`python -m vxp.bench.stamps_video` measures what the task stamps-video promises: which stamps the model is sure of, how often it
is right of a planted pair, and where references and Grad-CAM stand in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from vxp import explainers, models, tasks
from vxp.core import Batch
from vxp.datasets import freeze
from vxp.datasets._images import between, uniforms
from vxp.datasets.photos import photograph
from vxp.datasets.stamps import GROUND_SIDE, GROUNDS, composite, mapping
from vxp.datasets.stamps_video import LARGEST, PURPOSE, SIZE, SMALLEST, STAMPS_VIDEO

ALONE, SURE = 9, 7
"""Images of every stamp alone, three on each ground, and how many of them the model must get right."""
FRESH = 1
"""A seed that the task does not have."""
Predict = Callable[[Tensor], Tensor]


def sure(predict: Predict) -> list[str]:
    """The stamps that a model of images is sure of, bytewise: their class is predicted in SURE of ALONE images."""
    def right(stamp: str) -> int:
        return sum(int(predict(image).argmax()) in mapping()[stamp] for image in alone(stamp))

    return [stamp for stamp in sorted(mapping()) if right(stamp) >= SURE]


def alone(stamp: str) -> Iterator[Tensor]:
    """Images uint8 [3, SIZE, SIZE] of a stamp at drawn sizes and places on the grounds in turn."""
    for number in range(ALONE):
        u = uniforms(0, PURPOSE, "alone", stamp, number)
        photo = photograph(list(GROUNDS.values())[number % len(GROUNDS)], "stamps")
        left, top = (between(next(u), 0, GROUND_SIDE - SIZE) for _ in range(2))
        ground = np.asarray(photo.crop((left, top, left + SIZE, top + SIZE)), dtype=np.uint32)
        size = between(next(u), round(SMALLEST * SIZE), round(LARGEST * SIZE))
        yield composite(stamp, size, [between(next(u), 0, SIZE - size) for _ in range(2)], ground)[0]


def right_pairs(predict: Predict, clips: int, seed: int = FRESH) -> float:
    """Share of planted pairs, whether or not a list would take them, of both stamps of which a model of clips is right: the
    highest class, where the other stamp's are left out, is one of the stamp's own."""
    planted = islice(STAMPS_VIDEO.propose(seed), 0, 2 * clips, 2)
    assert STAMPS_VIDEO.chosen is not None
    return sum(STAMPS_VIDEO.chosen(item, predict(STAMPS_VIDEO.load(item).image)) is not None for item in planted) / clips


