"""The fixed reference explanations of clauses 6.4.2 and 6.4.4, in plain loops.

A space is (H, W) of an image or (T, H, W) of a clip; maps are arrays over it. Of a sequence [D, n] of n steps they are scores
of its fragments, [S]; parts is the fragment of every step.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from oracles import UndefinedError, counterfactuals, fragments, philox, sequences

Space = tuple[int, ...]


def positions(space: Space) -> Iterator[tuple[int, ...]]:
    """In row-major order."""
    return itertools.product(*(range(n) for n in space))


def random(space: Space, item: str, seed: int, purpose: str = "random@1") -> np.ndarray:
    words = philox.uniforms(philox.key(seed, item, purpose, "map"), 0, math.prod(space))[0]
    found = np.zeros(space)
    for p, place in enumerate(positions(space)):
        found[place] = words[p]
    return found


def random_coarse(space: Space, item: str, seed: int) -> np.ndarray:
    return random(((space[0] + 1) // 2, 4, 4), item, seed, "random-coarse@1")


def centre_gaussian(space: Space) -> np.ndarray:
    def bell(i: int, n: int) -> float:
        return math.exp(-(((i - (n - 1) / 2) / (0.25 * n)) ** 2) / 2)

    found = np.zeros(space)
    for place in positions(space):
        found[place] = math.prod(bell(i, n) for i, n in zip(place, space, strict=True))
    return found


def centre_of_fragments(parts: Sequence[int]) -> np.ndarray:
    n = len(parts)
    found = np.zeros(max(parts) + 1)
    for k in range(len(found)):
        steps = [t for t in range(n) if parts[t] == k]
        middle = float(np.float32(sum(steps) / len(steps)))
        found[k] = math.exp(-(((middle - (n - 1) / 2) / (0.25 * n)) ** 2) / 2)
    return found


def leave_one_out(features: np.ndarray, parts: Sequence[int], model: sequences.Scorer) -> np.ndarray:
    rescored = sequences.rescored(model, features, parts, "zero")
    scores = rescored([])
    found = np.zeros(max(parts) + 1)
    if len(set(scores)) == 1:
        return found
    for k in range(len(found)):
        try:
            found[k] = 1 - (fragments.tau_without(scores, rescored, [k]) if len(found) > 1 else 0)
        except UndefinedError:
            found[k] = 1
    return found


def luminance(raw: np.ndarray) -> np.ndarray:
    """raw [3, *space], float64."""
    found = np.zeros(raw.shape[1:])
    for place in positions(found.shape):
        found[place] = 0.299 * raw[0][place] + 0.587 * raw[1][place] + 0.114 * raw[2][place]
    return found


def edges(raw: np.ndarray) -> np.ndarray:
    """Of an image [3, H, W], or frame by frame of a clip [3, T, H, W], float64."""
    if raw.ndim == 4:
        return np.stack([edges(raw[:, t]) for t in range(raw.shape[1])])
    grey = luminance(raw)
    H, W = grey.shape
    rows = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]

    def at(y: int, x: int) -> float:
        return float(grey[min(max(y, 0), H - 1), min(max(x, 0), W - 1)])

    found = np.zeros((H, W))
    for y, x in positions((H, W)):
        window = [(dy, dx, at(y + dy - 1, x + dx - 1)) for dy in range(3) for dx in range(3)]
        across = sum(rows[dy][dx] * value for dy, dx, value in window)
        down = sum(rows[dx][dy] * value for dy, dx, value in window)
        found[y, x] = math.sqrt(across**2 + down**2)
    return found


def motion(raw: np.ndarray) -> np.ndarray:
    """Of a clip [3, T, H, W], float64."""
    grey = luminance(raw)
    found = np.zeros(grey.shape)
    for t, y, x in positions(grey.shape):
        pairs = [(s, s + 1) for s in (t - 1, t) if 0 <= s < len(grey) - 1]
        changes = [abs(grey[b, y, x] - grey[a, y, x]) for a, b in pairs]
        found[t, y, x] = sum(changes) / len(changes) if changes else 0.0
    return found


def oracle(truth: np.ndarray) -> np.ndarray:
    """truth bool, over the space."""
    inside = [place for place in positions(truth.shape) if truth[place]]
    outside = [place for place in positions(truth.shape) if not truth[place]]
    if not inside or not outside:
        return oracle_binary(truth)

    def nearest(place: tuple[int, ...], others: list[tuple[int, ...]]) -> float:
        return math.sqrt(min(sum((a - b) ** 2 for a, b in zip(place, other, strict=True)) for other in others))

    found = np.zeros(truth.shape)
    for place in positions(truth.shape):
        found[place] = nearest(place, outside) if truth[place] else -nearest(place, inside)
    return found


def oracle_binary(truth: np.ndarray) -> np.ndarray:
    return truth.astype(float)


def of_fragments(
    reference: str, item: str, seed: int, features: np.ndarray, parts: Sequence[int], model: sequences.Scorer | None,
) -> np.ndarray:
    """The scores of a reference for the fragments of a sequence, float32."""
    if reference == "leave-one-out" and model is not None:
        found = leave_one_out(features, parts, model)
    else:
        found = {"random": lambda: random((max(parts) + 1,), item, seed),
                 "centre-gaussian": lambda: centre_of_fragments(parts)}[reference]()
    return found.astype(np.float32)


def noise_equal(
    image: np.ndarray, item: str, seed: int, truth: Mapping[str, np.ndarray], foil: int,
    normalization: tuple[Sequence[float], Sequence[float]],
) -> np.ndarray:
    """An image [3, H, W] in input space with noise as strong as the change to its rendering as the foil, in levels."""
    own = counterfactuals.levels(image, *normalization)
    sigma = 255 * 0.08
    if "classes" in truth:
        changes = [int(truth["classes"][foil][at]) - int(own[at]) for at in counterfactuals.values(image)]
        sigma = math.sqrt(sum(change**2 for change in changes) / len(changes))
    drawn = philox.normals(philox.key(seed, item, "noise-equal@1", "image"), 0, image[0].size)
    found = np.zeros(image.shape, np.uint8)
    for c, y, x in counterfactuals.values(image):
        level = math.floor(own[c, y, x] + sigma * float(np.float32(drawn[c, y * image.shape[2] + x])) + 0.5)
        found[c, y, x] = min(max(level, 0), 255)
    return found


def made(reference: str, item: str, seed: int, raw: np.ndarray, truth: Mapping[str, Any]) -> np.ndarray:
    """The map of a reference on its grid, float32; KeyError for one that needs a truth which is not there."""
    space = raw.shape[1:]
    if reference in ("random", "random-coarse"):
        found = {"random": random, "random-coarse": random_coarse}[reference](space, item, seed)
    elif reference == "centre-gaussian":
        found = centre_gaussian(space)
    elif reference in ("edges", "motion"):
        found = {"edges": edges, "motion": motion}[reference](raw)
    else:
        kind = "mask" if "mask" in truth else "cells"
        found = {"oracle": oracle, "oracle-binary": oracle_binary}[reference](truth[kind])
    return found.astype(np.float32)


def random_concepts(K: int, item: str, seed: int) -> np.ndarray:
    words = philox.uniforms(philox.key(seed, item, "random-concepts@1", "scores"), 0, K)[0]
    return np.array([2 * words[k] - 1 for k in range(K)])


def cace(on: Sequence[Sequence[np.ndarray]], off: Sequence[Sequence[np.ndarray]], target: int) -> np.ndarray:
    """Of the logits of every example of every concept."""
    found = np.zeros(len(on))
    for k in range(len(on)):
        shifts = [a[target] - a.mean() - (b[target] - b.mean()) for a, b in zip(on[k], off[k], strict=True)]
        effect = sum(shifts) / len(shifts)
        found[k] = effect if abs(effect) >= 0.25 else 0.0
    return found


def cav_accuracy(on: Sequence[Sequence[np.ndarray]], off: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Of what the layer says of every example of every concept, in one row each."""
    return np.array([told_right(np.array(one), np.array(other)) - 0.5 for one, other in zip(on, off, strict=True)])


def told_right(on: np.ndarray, off: np.ndarray) -> float:
    """The share of examples [n, D] that a ridge regression of the others tells right, in five folds."""
    right = 0.0
    folds = min(5, len(on))
    for fold in range(folds):
        fitted = [(x, side) for rows, side in ((on, 1.0), (off, -1.0)) for i, x in enumerate(rows) if i % folds != fold]
        middle = sum(x for x, _ in fitted) / len(fitted)
        X, y = np.array([x - middle for x, _ in fitted]), np.array([side for _, side in fitted])
        size = sum(float(x @ x) for x in X) / len(X)
        weight = np.linalg.solve(X.T @ X + size * np.eye(X.shape[1]), X.T @ y)
        for rows, side in ((on, 1.0), (off, -1.0)):
            for i, x in enumerate(rows):
                if i % folds == fold:
                    said = side * float((x - middle) @ weight)
                    right += 1.0 if said > 0 else 0.5 if said == 0 else 0.0
    return right / (2 * len(on))
