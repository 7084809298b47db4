"""Images of the vectors, their maps, truths and models."""

from functools import cache

import numpy as np

from oracles.stock import CLASSES, H, Model, Stock, W, drawn, dyadic, made_map, normalised, weights


@cache
def images() -> Stock:
    return Stock("", inputs(), attributions(), truths(), models(), sound=("random", "native", "ties", "explained"),
                 apart=("flat",))


@cache
def inputs() -> np.ndarray:
    """Four images in input space, float32: noise over a smooth ground, so that no two positions are equal, then one that
    is zero everywhere."""
    raw = 0.5 * drawn("raw", 3, 3, H, W) + 0.5 * np.kron(drawn("ground", 3, 3, 3, 4), np.ones((8, 8)))
    return np.concatenate([normalised(raw), np.zeros((1, 3, H, W))]).astype(np.float32)


def attributions() -> dict[str, tuple[int, str, np.ndarray]]:
    """Maps by name, with the number of the image that each belongs to and its rule."""
    sparse = np.where(drawn("sparse", H, W) < 0.6, 0.0, np.floor(drawn("levels", H, W) * 5) / 4)
    broken = dyadic("broken", 6, 8)
    broken[2, 3] = np.nan
    found = {
        "random": (0, 2 * drawn("random", H, W) - 1), "native": (1, dyadic("native", 6, 8)), "ties": (2, sparse),
        "explained": (2, made_map(inputs()[2].astype(np.float64), 0, None)), "negative": (0, -1 - drawn("negative", H, W)),
        "quantised": (1, np.floor(drawn("quantised", 12, 16) * 4) / 4), "constant": (0, np.full((7, 7), 0.3)),
        "zeros": (1, np.zeros((6, 8))), "broken": (2, broken), "nearest": (0, dyadic("nearest", 7, 9)),
        "signs": (1, np.where(drawn("signs", H, W) < 0.5, -0.5, 0.5)), "flat": (3, dyadic("flat", 6, 8)),
    }
    return {name: (i, "nearest" if name == "nearest" else "bilinear", values.astype(np.float32))
            for name, (i, values) in found.items()}


def truths() -> dict[str, np.ndarray]:
    """Truths by key, one for each of three images, then an empty one and a full one, then one for the fourth image."""
    mask, cells = np.zeros((6, H, W), bool), np.zeros((6, H, W), bool)
    mask[0, 3:11, 4:20] = mask[2, 10, 10] = mask[2, 0, 31] = mask[4] = True
    mask[1] = drawn("mask", H, W) < 0.4
    cells[0, :12, :16] = cells[1, 12:, 16:] = cells[2, :12, 16:] = cells[4] = True
    mask[5], cells[5] = mask[0], cells[0]
    boxes = np.zeros((6, 2, 4), np.int64)
    boxes[0] = boxes[5] = [[4, 3, 20, 11], [22, 15, 30, 23]]
    boxes[1, 0], boxes[2, 0], boxes[4, 0] = [0, 0, 32, 12], [10, 10, 11, 11], [0, 0, W, H]
    looked, others = np.zeros((6, H * W)), np.zeros((6, H * W))
    for i in (0, 1, 2, 5):
        np.add.at(looked[i], np.floor(drawn(f"looked/{i}", 25) * H * W).astype(int), 1)
        np.add.at(others[i], np.floor(drawn(f"others/{i}", 60) * H * W).astype(int), 1)
    looked[4] = others[4] = 1
    looked, others = looked.reshape(6, H, W), others.reshape(6, H, W)
    padded = np.pad(looked, ((0, 0), (2, 2), (2, 2)))
    density = sum(padded[:, dy : dy + H, dx : dx + W] for dy in range(5) for dx in range(5)) / 25 + 1 / 128
    density[3], density[5] = 0, 0.5
    found = {"mask": mask, "cells": cells, "boxes": boxes, "density": density.astype(np.float32),
             "fixations": looked.astype(np.float32), "other-fixations": others.astype(np.float32)}
    return found


def models() -> dict[str, Model]:
    """A small network, a linear model, a constant one, one with a single class, and one whose class changes with the
    least change of an image that is zero."""
    cnn = [{"op": "conv2d", "weight": "1.weight", "bias": "1.bias", "stride": 2, "padding": 2}, {"op": "tanh"},
           {"op": "conv2d", "weight": "2.weight", "bias": "2.bias", "stride": 2, "padding": 1}, {"op": "tanh"},
           {"op": "average-pool", "grid": [3, 4]}, {"op": "flatten"}, {"op": "linear", "weight": "3.weight", "bias": "3.bias"}]
    push = weights("touchy", 1, 3 * H * W)
    line = [{"op": "flatten"}, {"op": "linear", "weight": "1.weight", "bias": "1.bias"}]
    return {
        "cnn": (cnn, {"1.weight": weights("c1", 6, 3, 5, 5), "1.bias": weights("c1b", 6), "2.weight": weights("c2", 8, 6, 3, 3),
                      "2.bias": weights("c2b", 8), "3.weight": weights("c3", CLASSES, 96), "3.bias": weights("c3b", CLASSES)}),
        "linear": (line, {"1.weight": weights("l", CLASSES, 3 * H * W) / 8, "1.bias": weights("lb", CLASSES)}),
        "constant": (line, {"1.weight": np.zeros((CLASSES, 3 * H * W), np.float32),
                            "1.bias": np.array([40, 1, 0, -1, 2], np.float32)}),
        "single": (line, {"1.weight": weights("single", 1, 3 * H * W), "1.bias": np.zeros(1, np.float32)}),
        "touchy": (line, {"1.weight": np.concatenate([0 * push, push, -push]), "1.bias": np.array([1e-4, 0, 0], np.float32)}),
    }
