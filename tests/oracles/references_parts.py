"""The fixed references of the parts of images and of prototypes, and what is asked of them: slow, and written from section
6.4."""

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
            *(case("part-drop", i, 1e-5, model) for i, model in enumerate(("cnn", "linear"))),
            *(case("random-patches", i, 0.0) for i in range(2)), *(case("part-template", i, 1e-6) for i in range(2))]


def tensor(name: str) -> dict[str, str]:
    return {"file": "data.safetensors", "tensor": name}


def made(case: Case, folder: Path, seed: int, normalization: tuple[Sequence[float], Sequence[float]]) -> np.ndarray:
    """The regions [2, H, W] of a case, or the planes of prototypes [P, 16, 16]."""
    image = implementation.read(folder, case["input"]).astype(np.float64)
    labels = implementation.divided(case, folder)["part"].reshape(image.shape[1:])
    if case["reference"] == "random-patches":
        return randoms(3 * 16 * 16, case["item"], seed, "random-patches@1", "maps").reshape(3, 16, 16).astype(np.float32)
    if case["reference"] == "part-template":
        return templates(labels).astype(np.float32)
    scores = {
        "part-random": lambda: randoms(labels.max() + 1, case["item"], seed, "part-random@1", "scores"),
        "part-area": lambda: areas(labels), "part-centre": lambda: centres(labels),
        "part-drop": lambda: drops(case, folder, image, normalization),
    }[case["reference"]]()
    found = np.zeros((2, *labels.shape))
    for place in itertools.product(*map(range, labels.shape)):
        found[(0, *place)] = labels[place]
        found[(1, *place)] = 0 if labels[place] < 0 else scores[labels[place]]
    return found.astype(np.float32)


def places(labels: np.ndarray, k: int) -> list[tuple[int, int]]:
    """The rows and columns of a part."""
    return [(y, x) for y, x in itertools.product(*map(range, labels.shape)) if labels[y, x] == k]


def randoms(n: int, item: str, seed: int, purpose: str, stream: str) -> np.ndarray:
    return np.asarray(philox.uniforms(philox.key(seed, item, purpose, stream), 0, n)[0])


def templates(labels: np.ndarray) -> np.ndarray:
    """The share of each cell that each part has."""
    (H, W), found = labels.shape, np.zeros((labels.max() + 1, 16, 16))
    for k, i, j in itertools.product(*map(range, found.shape)):
        rows, columns = (range(n * N // 16, -(-(n + 1) * N // 16)) for n, N in ((i, H), (j, W)))
        inside = [labels[place] == k for place in itertools.product(rows, columns)]
        found[k, i, j] = sum(inside) / len(inside)
    return found


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
