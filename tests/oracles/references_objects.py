"""The reference of objects in clips: what the order of the frames loses without each object."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oracles import UndefinedError, fragments, implementation, objects

ASKED = ((0, "cnn"), (1, "linear"), (2, "cnn"), (0, "constant"))
"""Clips, the third with one object, and models, one of which gives all frames one score."""


def cases() -> list[dict[str, Any]]:
    """What is asked."""
    found = []
    for i, (clip, model) in enumerate(ASKED):
        name = f"objects/object-leave-one-out/{i}"
        found.append({
            "id": name, "reference": "object-leave-one-out", "item": ("0", "éléphant/\"b\"")[i % 2], "tolerance": 1e-6,
            "input": {"file": "data.safetensors", "tensor": f"input/objects-{clip}"}, "truth": {},
            "parts": {"object": {"file": "data.safetensors", "tensor": f"object/objects-{clip}"}},
            "model": f"models/objects-{model}.json", "expected": {"file": "references.safetensors", "tensor": name}})
    return found


def made(
    case: Mapping[str, Any], folder: Path, seed: int, normalization: tuple[Sequence[float], Sequence[float]]
) -> np.ndarray:
    """The regions [2, T, H, W] float32: the object at every position, and what goes with it."""
    image = implementation.read(folder, case["input"]).astype(np.float64)
    model, of = implementation.network_of(folder, case["model"]), implementation.divided(case, folder)["object"]
    rescored = objects.rescored(lambda row: model(row)[0], image, of.tolist(), *normalization, seed, case["item"], fill="black")
    scores = np.zeros(of.shape)
    for number in range(int(of.max()) + 1):
        try:
            tau = fragments.tau_b(rescored([]), rescored([number]))
        except UndefinedError:
            tau = 0.0
        scores[of == number] = 1 - tau
    try:
        fragments.tau_b(rescored([]), rescored([]))
    except UndefinedError:  # all frames have one score, so nothing is lost
        scores[:] = 0
    return np.stack([of, scores]).reshape(2, *image.shape[1:]).astype(np.float32)
