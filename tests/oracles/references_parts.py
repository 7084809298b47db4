"""The fixed references of the parts of images, and what is asked of them: slow, and written from section 6.4."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oracles import implementation, philox, removals

Case = dict[str, Any]


def cases() -> list[Case]:
    """What is asked: of an image in five parts with ground between them, and of one that its parts fill."""
    def case(name: str, i: int, tolerance: float, model: str | None = None) -> Case:
        asked = {} if model is None else {"model": f"models/parts-{model}.json", "target": i}
        return {"id": f"parts/{name}/{i}", "reference": name, "item": ("0", "éléphant/\"b\"")[i], "tolerance": tolerance,
                "input": tensor(f"input/parts-{i}"), "parts": {"part": tensor(f"part/parts-{i}")}, **asked,
                "truth": {} if model is None else {"without": tensor(f"without/parts-{i}")},
                "expected": {"file": "references.safetensors", "tensor": f"parts/{name}/{i}"}}

    return [*(case("part-random", i, 0.0) for i in range(2)),
            *(case(name, i, 1e-6) for name in ("part-area", "part-centre") for i in range(2)),
            *(case("part-drop", i, 1e-5, model) for i, model in enumerate(("cnn", "linear")))]


def tensor(name: str) -> dict[str, str]:
    return {"file": "data.safetensors", "tensor": name}


def made(case: Case, folder: Path, seed: int, normalization: tuple[Sequence[float], Sequence[float]]) -> np.ndarray:
    """The regions [2, H, W] of a case."""
    image = implementation.read(folder, case["input"]).astype(np.float64)
    labels = implementation.divided(case, folder)["part"].reshape(image.shape[1:])
    scores = {"part-random": lambda: randoms(labels, case["item"], seed), "part-area": lambda: areas(labels),
              "part-centre": lambda: centres(labels), "part-drop": lambda: drops(case, folder, image, normalization),
              }[case["reference"]]()
    found = np.zeros((2, *labels.shape))
    for place in itertools.product(*map(range, labels.shape)):
        found[(0, *place)] = labels[place]
        found[(1, *place)] = 0 if labels[place] < 0 else scores[labels[place]]
    return found.astype(np.float32)


def places(labels: np.ndarray, k: int) -> list[tuple[int, int]]:
    """The rows and columns of a part."""
    return [(y, x) for y, x in itertools.product(*map(range, labels.shape)) if labels[y, x] == k]


def randoms(labels: np.ndarray, item: str, seed: int) -> list[float]:
    return list(philox.uniforms(philox.key(seed, item, "part-random@1", "scores"), 0, labels.max() + 1)[0])


def areas(labels: np.ndarray) -> list[float]:
    return [len(places(labels, k)) / labels.size for k in range(labels.max() + 1)]


def centres(labels: np.ndarray) -> list[float]:
    H, W = labels.shape
    found = []
    for k in range(labels.max() + 1):
        away = [math.hypot(y - (H - 1) / 2, x - (W - 1) / 2) for y, x in places(labels, k)]
        found.append(1 - sum(away) / len(away) / math.hypot((H - 1) / 2, (W - 1) / 2))
    return found


def drops(
    case: Mapping[str, Any], folder: Path, image: np.ndarray, normalization: tuple[Sequence[float], Sequence[float]]
) -> list[float]:
    """What the target's logit loses without each part."""
    model = implementation.network_of(folder, case["model"])
    whole = model(image)[0][case["target"]]
    return [float(whole - model(removals.redrawn(image, drawn, *normalization))[0][case["target"]])
            for drawn in implementation.read(folder, case["truth"]["without"])]
