"""Scores of concepts beside what the concepts cause, in plain loops over the items of a set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from oracles import counterfactuals

Sample = Mapping[str, Any]
Cell = tuple[float, float, float]
"""The mean score of a class's items for a concept, the share of them that is not 0, and the effect."""


def centred(logits: Sequence[float]) -> list[float]:
    """Logits less their mean."""
    mean = sum(logits) / len(logits)
    return [logit - mean for logit in logits]


def caused(sample: Sample, k: int) -> list[float]:
    """What a concept does to the centred logit of every class of one item."""
    off, on = (centred([float(logit) for logit in sample["model"](counterfactuals.shown(
        sample["image"], image, sample["mean"], sample["std"]))]) for image in sample["truths"]["factors"][k])
    return [a - b for a, b in zip(on, off, strict=True)]


def cells(samples: Sequence[Sample]) -> Iterator[Cell]:
    """Every concept and every class that is the target of an item."""
    for k in range(len(samples[0]["payload"]) if samples else 0):
        effects = [caused(sample, k) for sample in samples]
        for c in sorted({sample["target"] for sample in samples}):
            scores = [float(sample["payload"][k]) for sample in samples if sample["target"] == c]
            yield (sum(scores) / len(scores), sum(score != 0 for score in scores) / len(scores),
                   sum(effect[c] for effect in effects) / len(effects))


def sign(value: float) -> int:
    return int(np.sign(value))
