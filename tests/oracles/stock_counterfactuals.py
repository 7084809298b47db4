"""Counterfactuals of the vectors: images of a painted block, the same of every class, and what explainers made of them."""

from functools import cache

import numpy as np

from oracles import network
from oracles.stock import CLASSES, MEAN, STD, H, Stock, W, drawn, normalised
from oracles.stock_images import models

PREFIX = "counterfactual-"
BLOCKS = (slice(3, 15), slice(4, 20)), (slice(6, 20), slice(10, 16)), (slice(2, 8), slice(2, 30)), (slice(12, 24), slice(0, 12))
"""Rows and columns of the blocks of paint 1 to 4; paint 0 is that of the image itself."""
OWN = slice(5, 12), slice(8, 26)


@cache
def counterfactuals() -> Stock:
    truths = {"classes": [renderings(row) for row in ROWS], "class_masks": [masks(row) for row in ROWS]}
    return Stock(PREFIX, inputs(), payloads(), truths, {name: models()[name] for name in ("cnn", "linear", "constant")},
                 sound=("true", "reached", "noisy", "between-levels"), kind="counterfactual")


ROWS = (0, 1, 2, 0, 0, 3)
"""The image of every row of a truth: there is none that is empty or full."""


def inputs() -> np.ndarray:
    """Four images in input space, float32: the last lies between levels."""
    raw = np.stack([painted(i, 0) for i in range(4)]) / 255
    raw[3] = (raw[3] + 0.3 * drawn("counterfactual-between", 3, H, W) / 255).clip(0, 1)
    return normalised(raw.astype(np.float32)).astype(np.float32)


def painted(i: int, paint: int) -> np.ndarray:
    """uint8 [3, H, W]: an image with the block of a paint."""
    ground = np.kron(drawn(f"counterfactual-ground-{i}", 3, 3, 4), np.ones((8, 8)))
    ground += drawn(f"counterfactual-grain-{i}", 3, H, W)
    found = np.floor(60 * ground + 40).astype(np.int64)
    rows, columns = OWN if paint == 0 else BLOCKS[paint - 1]
    # by even numbers, so that half of a difference is a level
    found[:, rows, columns] += 2 * np.floor(45 * drawn(f"counterfactual-paint-{i}-{paint}", 3, 1, 1)).astype(np.int64)
    return found.astype(np.uint8)


@cache
def predicted(model: str, i: int) -> int:
    return said(model, inputs()[i])


def said(model: str, image: np.ndarray) -> int:
    operations, weights = models()[model]
    return int(np.argmax(network.forward(image.astype(np.float64), operations, weights)[0]))


def paint_of(i: int, c: int) -> int:
    """The paint of a class: the image as it is has the one that the network predicts."""
    return (c - predicted("cnn", i)) % CLASSES


def renderings(i: int) -> np.ndarray:
    """uint8 [CLASSES, 3, H, W]: the image as every class."""
    return np.stack([painted(i, paint_of(i, c)) for c in range(CLASSES)])


def masks(i: int) -> np.ndarray:
    """bool [CLASSES, H, W]: the block of every class; the whole of one class of the second image."""
    found = np.zeros((CLASSES, H, W), bool)
    for c in range(CLASSES):
        paint = paint_of(i, c)
        found[c][OWN if paint == 0 else BLOCKS[paint - 1]] = True
        found[c] |= i == 1 and paint == 3
    return found


def foil(model: str, i: int, name: str, target: int) -> int:
    """The class that a counterfactual is to reach: of one of them the one that the model predicts already."""
    return predicted(model, i) if name == "there" else (target + 1) % CLASSES


def reached(i: int) -> np.ndarray:
    """uint8 [3, H, W]: the first of many pictures that the network takes for the class after the predicted one."""
    for n in range(4000):
        plain = np.kron(drawn(f"counterfactual-reached-{n}", 3, 3, 4), np.ones((8, 8)))
        image = np.floor(255 * plain.clip(0, 1)).astype(np.uint8)
        if said("cnn", normalised((image / 255)[None])[0]) == (predicted("cnn", i) + 1) % CLASSES:
            return image
    raise LookupError(f"none of 4000 pictures is one of class {(predicted('cnn', i) + 1) % CLASSES} for the network")


def payloads() -> dict[str, tuple[int, str, np.ndarray]]:
    """By name, with the number of the image that each belongs to. In `ties` many values change by one amount, `halfway` is as
    far from the image as from its rendering, `between-levels` keeps half of an image that lies between levels."""
    images = [np.floor(255 * (x.astype(np.float64) * np.reshape(STD, (3, 1, 1)) + np.reshape(MEAN, (3, 1, 1))) + 0.5)
              .astype(np.int64) for x in inputs()]
    true = painted(0, 1).astype(np.int64)
    part = images[0].copy()
    part[:, :10] = true[:, :10]
    part[:, 20:, 25:] += 30
    ties = images[1] + 10 * (drawn("counterfactual-ties", 3, H, W) < 0.3)
    noisy = images[2] + np.floor(81 * drawn("counterfactual-noise", 3, H, W)).astype(np.int64) - 40
    half = images[3].copy()
    half[:, :, 16:] = np.floor(256 * drawn("counterfactual-half", 3, H, 16))
    found = {"true": (0, true), "reached": (1, reached(1)), "noisy": (2, noisy), "between-levels": (3, half), "part": (0, part),
             "ties": (1, ties), "same": (1, images[1]), "same-between": (3, images[3]), "there": (0, true),
             "halfway": (0, (images[0] + true) // 2), "other": (2, painted(1, 2))}
    return {name: (i, "none", np.asarray(values).clip(0, 255).astype(np.uint8)) for name, (i, values) in found.items()}
