"""`python -m vxp.bench.stamps_video` measures what the task stamps-video promises, in about three minutes on one core.

Which stamps EfficientNet-Lite0 is sure of; how often it is right of a planted pair; what the maps of references and of Grad-CAM
score against the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from vxp import api, explainers, metrics, models, tasks
from vxp.core import Batch
from vxp.datasets._images import between, uniforms
from vxp.datasets.photos import photograph
from vxp.datasets.stamps import GROUND_SIDE, GROUNDS, composite, mapping
from vxp.datasets.stamps_video import LARGEST, PURPOSE, SIZE, SMALLEST, chosen, known, load, propose
from vxp.maintain import freeze
from vxp.maintain.freeze import Predict
from vxp.models import Model

ALONE, SURE = 9, 7
"""Images of every stamp alone, three on each ground, and how many of them the model must get right."""
FRESH = 1
"""A seed that the task does not have."""
TOGETHER = 12
"""Items that are explained and scored together: this bounds memory."""
METHODS = ("random", "random-coarse", "centre-gaussian", "edges", "motion", "oracle", "grad-cam")


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
    planted = islice(propose(seed), 0, 2 * clips, 2)
    return sum(chosen(item, predict(load(item).image)) is not None for item in planted) / clips


def truth_scores(names: Sequence[str], items: int) -> dict[str, dict[str, float]]:
    """The mean of every metric of the card that needs the truth, by explainer, over so many items of the task."""
    task, model = tasks.load("stamps-video"), models.load("efficientnet-lite0-frames")
    wanted = [m for m in task.metrics if metrics.bind(m).metric.truth]
    parts = [task.batch(start, min(start + TOGETHER, items), model) for start in range(0, items, TOGETHER)]
    return {name: _mean([_scored(model, name, part, wanted) for part in parts]) for name in names}


def _scored(model: Model, name: str, batch: Batch, wanted: Sequence[str]) -> dict[str, Tensor]:
    maps = explainers.bind(name)(model.module, batch)
    facts = (model.normalization.mean, model.normalization.std)
    scores = api.score(model.module, batch.inputs, maps, batch.targets, truth=batch.truth["mask"], metrics=wanted,
                       normalization=facts)
    return {name: score.values for name, score in scores.items()}


def _mean(parts: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    return {name: float(torch.cat([part[name] for part in parts]).mean()) for name in parts[0]}


def main() -> None:
    """Print the three figures."""
    found = sure(freeze.predictor(models.load("efficientnet-lite0")))
    same = "those" if tuple(found) == known() else "not those"
    print(f"sure of {len(found)} of {len(mapping())} stamps, {same} of the data set")
    share = right_pairs(freeze.predictor(models.load("efficientnet-lite0-frames")), 200)
    print(f"right of {share:.3f} of 200 fresh pairs (goal: at least 0.70)")
    for name, scores in truth_scores(METHODS, 96).items():
        print(f"{name}:", ", ".join(f"{score} {value:.3f}" for score, value in scores.items()))


if __name__ == "__main__":
    main()
