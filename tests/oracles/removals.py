"""What a model says of an item without each of its parts: one item, plain loops, by the definitions."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from oracles import fragments, sequences

Model = Callable[[np.ndarray], np.ndarray]
Effects = dict[tuple[str, str], float]
VARIANTS = [{"share": 0.2}, {"share": 1.0}, {"share": 0.0}, {"fill": "remove"}, {"fill": "hold"}]


def claims(payload: np.ndarray) -> list[Mapping[str, str]]:
    """The claims of stored bytes."""
    found: list[Mapping[str, str]] = said(payload)["claims"]
    return found


def said(payload: np.ndarray) -> Any:
    """The JSON document of stored bytes."""
    return json.loads(payload.tobytes().rstrip(b"\0").decode())


def causes(effects: Effects, share: float) -> list[tuple[str, str]]:
    """The parts whose effect is at least a share of the largest; 1e-6 is nothing, and of two such numbers no difference."""
    largest = max(effects.values())
    return [part for part, effect in effects.items() if effect > 1e-6 and effect > share * largest - 1e-6]


def effects(
    model: Model, image: np.ndarray, target: int, parts: Sequence[int], truths: Mapping[str, np.ndarray],
    concepts: Sequence[str], mean: Sequence[float], std: Sequence[float], fill: str,
) -> Effects:
    """By how much the output changes without each part: of a sequence its order, of an image the target's probability."""
    if image.ndim == 2:
        return of_fragments(model, image, parts, fill)
    whole = probability(model(image), target)
    return {("part", name): whole - probability(model(redrawn(image, drawn, mean, std)), target)
            for name, drawn in zip(concepts, truths["without"], strict=True)}


def of_fragments(model: Model, image: np.ndarray, parts: Sequence[int], fill: str) -> Effects:
    rescored = sequences.rescored(model, image, parts, fill)
    whole, found = rescored([]), {}
    for k in range(max(parts) + 1):
        there = [t for t in range(len(parts)) if fill != "remove" or parts[t] != k]
        without = rescored([k])
        found["shot", str(k + 1)] = 1 - fragments.tau_b([whole[t] for t in there], [without[t] for t in there])
    return found


def probability(logits: np.ndarray, target: int) -> float:
    """The softmax of the target, of logits as float32 has them."""
    powers = [math.exp(float(v) - float(max(logits))) for v in logits.astype(np.float32)]
    return powers[target] / sum(powers)


def redrawn(image: np.ndarray, drawn: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """The input of an image of 8-bit levels; where they are those of the item's own, the item's value."""
    found = image.copy()
    for place in np.ndindex(image.shape):
        channel = place[0]
        raw = min(max(float(image[place]) * std[channel] + mean[channel], 0.0), 1.0)
        if int(drawn[place]) != math.floor(raw * 255 + 0.5):
            found[place] = (int(drawn[place]) / 255 - mean[channel]) / std[channel]
    return found
