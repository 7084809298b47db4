"""Clips with objects of the vectors, maps over them, and models that score their frames."""

from functools import cache

import numpy as np

from oracles.stock import Model, Stock, drawn, dyadic, normalised, weights

T, H, W = 6, 8, 12


@cache
def objects() -> Stock:
    return Stock("objects-", inputs(), attributions(), {}, models(), sound=("random", "native", "ties"), output="sequence",
                 parts=[{"object": [int(k) for k in labels.ravel()]} for labels in label_maps()], pixels=True)


def inputs() -> list[np.ndarray]:
    """Three clips [3, T, H, W] in input space, float32: noise over a ground that moves, so that frames differ."""
    ground = np.kron(drawn("objects-ground", 3, 3, 2, 3), np.ones((4, 4)))
    moving = np.stack([np.roll(ground, t, axis=-1) * (0.4 + 0.1 * t) for t in range(T)], axis=2)
    return list(normalised(0.4 * drawn("objects-raw", 3, 3, T, H, W) + 0.6 * moving).astype(np.float32))


def label_maps() -> list[np.ndarray]:
    """The object at every position of each clip: five of two shots with nothing beside them, six blocks that fill every frame,
    and a single one."""
    some = np.full((T, H, W), -1)
    some[:3, :4, :5], some[:3, 4:, 2:8], some[3:, :5, 6:] = 0, 1, 2
    some[3:, 6:, :4], some[4, 0, 0] = 3, 4
    blocks = np.empty((T, H, W), int)
    for k in range(6):
        blocks[3 * (k // 3) : 3 * (k // 3) + 3, :, 4 * (k % 3) : 4 * (k % 3) + 4] = k
    one = np.full((T, H, W), -1)
    one[2:4, 2:6, 3:9] = 0
    return [some, blocks, one]


def attributions() -> dict[str, tuple[int, str, np.ndarray]]:
    """Maps by name, with the number of the clip that each belongs to and its rule. ties: objects of one relevance beside
    others. flat: all objects of one relevance, and something beside them. single: of the clip with one object."""
    of = label_maps()
    flat = np.where(of[0] < 0, 1.0, 0.5)
    ties = np.array([0.5, -0.25, 0.5, 1.0, -0.25, 0.5])[of[1]]
    broken = dyadic("objects-broken", T, H, W)
    broken[1, 2, 3] = np.nan
    found = {
        "random": (0, "trilinear", 2 * drawn("objects-random", T, H, W) - 1),
        "native": (1, "trilinear", dyadic("objects-native", 3, 4, 6)), "ties": (1, "trilinear", ties),
        "frames": (0, "frames", dyadic("objects-frames", 3, 4, 6)),
        "nearest": (0, "nearest", dyadic("objects-nearest", 2, 3, 5)), "flat": (0, "trilinear", flat),
        "single": (2, "trilinear", dyadic("objects-single", T, H, W)), "broken": (0, "trilinear", broken),
        "zeros": (1, "trilinear", np.zeros((2, 4, 6))),
    }
    return {name: (i, rule, values.astype(np.float32)) for name, (i, rule, values) in found.items()}


def models() -> dict[str, Model]:
    """Models whose output is a score per frame: a small network that sees neighbouring frames together, a linear one of the
    mean of every frame, and one that gives all frames one score."""
    cnn = [{"op": "conv3d", "weight": "1.weight", "bias": "1.bias", "stride": 1, "padding": 1}, {"op": "tanh"},
           {"op": "average-pool", "grid": [T, 2, 3]},
           {"op": "conv3d", "weight": "2.weight", "bias": "2.bias", "stride": 1, "padding": 0},
           {"op": "average-pool", "grid": [T, 1, 1]}, {"op": "flatten"}]
    line = [{"op": "average-pool", "grid": [T, 1, 1]},
            {"op": "conv3d", "weight": "1.weight", "bias": "1.bias", "stride": 1, "padding": 0}, {"op": "flatten"}]
    return {
        "cnn": (cnn, {"1.weight": weights("objects-c1", 5, 3, 3, 3, 3), "1.bias": weights("objects-c1b", 5),
                      "2.weight": weights("objects-c2", 1, 5, 1, 1, 1), "2.bias": weights("objects-c2b", 1)}),
        "linear": (line, {"1.weight": weights("objects-l", 1, 3, 1, 1, 1), "1.bias": weights("objects-lb", 1)}),
        "constant": (line, {"1.weight": np.zeros((1, 3, 1, 1, 1), np.float32), "1.bias": np.array([0.5], np.float32)}),
    }
