"""What the vectors are made of: inputs, maps, truths and models, all drawn by name; and what explainers and segmenters say."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from oracles import network, philox

H, W, CLASSES = 24, 32, 5
MEAN, STD = [0.48, 0.45, 0.4], [0.23, 0.22, 0.25]
Model = tuple[list[dict[str, Any]], dict[str, np.ndarray]]
"""A list of operations, and the weights that they name."""


@dataclass(frozen=True, eq=False)
class Stock:
    """What there is of one kind of explanation. The prefix goes before the names of its tensors and models.

    inputs: four, in input space. maps: by name the number of the input, the rule of resampling and the values. truths: by key
    one for each of the first three inputs, an empty one, a full one, and one for the fourth input. models: cnn,
    linear, constant and others. sound: the maps of the cases of further parameters. apart: the maps that only the case of one
    status has. parts: of every input the part of each of its steps, by unit; segments: its fragments as ranges of frames, of
    the truth `users` as well, of which there is then one for every input. output: what the models say. kind: of explanations
    that are no maps. concepts: the names of what truths list. always: truths that items have whatever the metric declares.
    pixels: whether inputs of a model without classes are pixels, and no features.
    """

    prefix: str
    inputs: Sequence[np.ndarray]
    maps: Mapping[str, tuple[int, str, np.ndarray]]
    truths: Mapping[str, Sequence[np.ndarray]]
    models: Mapping[str, Model]
    sound: tuple[str, ...]
    apart: tuple[str, ...] = ()
    parts: Sequence[Mapping[str, Sequence[int]]] = ()
    segments: Sequence[np.ndarray] = ()
    output: str = "classes"
    kind: str | None = None
    concepts: Sequence[str] = ()
    always: tuple[str, ...] = ()
    pixels: bool = False

    @property
    def normalization(self) -> dict[str, list[float]]:
        """That of pixels; features have none."""
        return {"mean": MEAN, "std": STD} if self.output == "classes" or self.pixels else {"mean": [0.0], "std": [1.0]}

    def tensors(self) -> dict[str, np.ndarray]:
        """All but the models, by the names that cases refer to."""
        found = {f"input/{self.prefix}{i}": values for i, values in enumerate(self.inputs)}
        found |= {f"map/{self.prefix}{name}": values for name, (_, _, values) in self.maps.items()}
        found |= {f"{unit}/{self.prefix}{i}": np.array(of) for i, units in enumerate(self.parts) for unit, of in units.items()}
        found |= {f"segments/{self.prefix}{i}": ranges for i, ranges in enumerate(self.segments)}
        return found | {f"{key}/{self.prefix}{row}": value
                        for key, rows in self.truths.items() for row, value in enumerate(rows)}


@cache
def target(stock: Stock, model: str, i: int) -> int:
    """The predicted class of an input, and another one for the third: a target need not be the prediction. -1 where there are
    no classes."""
    if stock.output != "classes":
        return -1
    operations, weights = stock.models[model]
    logits = network.forward(stock.inputs[i].astype(np.float64), operations, weights)[0]
    return (int(np.argmax(logits)) + (i == 2)) % len(logits)


def drawn(name: str, *shape: int) -> np.ndarray:
    """Uniform numbers in [0, 1), float64, named."""
    n = int(np.prod(shape))
    u = philox.uniforms(philox.key(0, "", "vectors@1", name), 0, -(-n // 4))
    return np.asarray(u.T.reshape(-1)[:n].reshape(shape))


def dyadic(name: str, *shape: int) -> np.ndarray:
    """Multiples of 1/256 in [-1, 1): linear steps of an eighth stay exact, so that ties are ties for everybody."""
    return (np.floor(drawn(name, *shape) * 512) / 256 - 1).astype(np.float32)


def weights(name: str, *shape: int) -> np.ndarray:
    return ((2 * drawn(name, *shape) - 1) * 0.6).astype(np.float32)


def normalised(raw: np.ndarray) -> np.ndarray:
    """Raw pixels [N, 3, ...] in input space."""
    mean, std = (np.array(v).reshape(3, *[1] * (raw.ndim - 2)) for v in (MEAN, STD))
    return np.asarray((raw - mean) / std)


def made_map(image: np.ndarray, target: int, state: Mapping[str, Any] | None) -> np.ndarray:
    """A map [6, 8] float32, of a clip [T/2, 6, 8], that depends on image, class and state of the model: what an explainer
    returned. The vectors carry it, so what made it does not matter; rounded, so that ties are ties for everybody."""
    grid = (*(max(1, T // 2) for T in image.shape[1:-2]), 6, 8)
    weight = drawn(f"map/{target}/{json.dumps(state, sort_keys=True)}", len(image), *grid) - 0.3
    blocks = network.average_pool(image, {"grid": grid}, {})
    return np.asarray(np.round(np.abs(weight * blocks).sum(0) * 1024) / 1024, dtype=np.float32)


def made_segments(image: np.ndarray, n: int) -> np.ndarray:
    """Labels of about n regions of an image [3, H, W] or a clip [3, T, H, W]: the nearest of n drawn points, numbered by their
    first position; an image of one colour is one region."""
    space = image.shape[1:]
    if not image.any():
        return np.zeros(space, dtype=np.int64)
    points = drawn(f"segments/{n}", n, len(space)) * space
    places = np.moveaxis(np.indices(space), 0, -1)
    nearest = ((places[..., None, :] - points) ** 2).sum(-1).argmin(-1)
    _, first, inverse = np.unique(nearest.ravel(), return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[inverse.ravel()].reshape(space), dtype=np.int64)
