"""Clips of the vectors, their maps, truths and models."""

from functools import cache

import numpy as np

from oracles.stock import CLASSES, H, Model, Stock, W, drawn, dyadic, made_map, normalised, weights

T = 4


@cache
def clips() -> Stock:
    return Stock("clip-", inputs(), attributions(), truths(), models(), sound=("random", "native", "ties", "explained"))


@cache
def timed() -> Stock:
    """The same clips with scores of their parts."""
    return Stock("clip-", inputs(), timed_attributions(), {}, models(), sound=("timed", "timed-ties", "timed-seconds"), parts=[
        {"fragment": [0, 1, 1, 2], "second": [0, 0, 1, 1]}, {"fragment": [0, 0, 0, 1], "second": [0, 0, 1, 1]},
        {"fragment": [0, 1, 2, 3], "second": [0, 0, 0, 1]}, {"fragment": [0], "second": [0]}])


def timed_attributions() -> dict[str, tuple[int, str, np.ndarray]]:
    """Scores of fragments, of frames and of seconds; some tie, some are all below 0."""
    found = {
        "timed": (0, "fragment", [0.25, -0.5, 1.0]), "timed-ties": (2, "fragment", [0.5, 1.0, 0.5, 1.0]),
        "timed-seconds": (1, "second", [-0.5, 0.25]), "timed-frames": (1, "frame", [0.125, 0.75, -1.0, 0.5]),
        "timed-negative": (0, "fragment", [-0.5, -0.25, -1.0]), "timed-constant": (2, "fragment", [0.5] * 4),
        "timed-broken": (1, "fragment", [0.5, np.nan]), "timed-still": (3, "fragment", [1.0]),
    }
    return {name: (i, rule, np.array(values, np.float32)) for name, (i, rule, values) in found.items()}


@cache
def inputs() -> list[np.ndarray]:
    """Three clips [3, T, H, W] in input space, float32: noise over a smooth ground that moves by a pixel a frame, then a clip
    of one frame."""
    ground = np.kron(drawn("clip-ground", 4, 3, 3, 4), np.ones((8, 8)))
    moving = np.stack([np.roll(ground, t, axis=-1) for t in range(T)], axis=2)
    found = normalised(0.5 * drawn("clip-raw", 4, 3, T, H, W) + 0.5 * moving).astype(np.float32)
    return [*found[:3], found[3, :, :1]]


def attributions() -> dict[str, tuple[int, str, np.ndarray]]:
    """Maps by name, with the number of the clip that each belongs to and its rule.

    first: the first frames go first, so that `hold` takes what comes after. peaks: maxima that tie, within frames and between
    them. even: all frames have one sum. intervals: a number per frame, so that all places have one sum. still: the clip of one
    frame.
    """
    sparse = np.where(drawn("clip-sparse", T, H, W) < 0.6, 0.0, np.floor(drawn("clip-levels", T, H, W) * 5) / 4)
    broken = dyadic("clip-broken", 2, 6, 8)
    broken[1, 2, 3] = np.nan
    peaks = np.zeros((T, H, W))
    peaks[1, 5, 8] = peaks[3, 0, 0] = 1.0
    peaks[2, 5, 12] = peaks[2, 20, 20] = 0.5
    even = np.stack([np.roll(dyadic("clip-even", H, W), t, axis=1) for t in range(T)])
    found = {
        "random": (0, "trilinear", 2 * drawn("clip-random", T, H, W) - 1),
        "native": (1, "trilinear", dyadic("clip-native", 2, 6, 8)), "ties": (2, "trilinear", sparse),
        "explained": (2, "trilinear", made_map(inputs()[2].astype(np.float64), 0, None)),
        "frames": (1, "frames", dyadic("clip-frames", 2, 6, 8)), "nearest": (0, "nearest", dyadic("clip-nearest", 3, 7, 9)),
        "negative": (0, "trilinear", -1 - drawn("clip-negative", T, H, W)),
        "constant": (0, "trilinear", np.full((3, 7, 7), 0.3)),
        "zeros": (1, "trilinear", np.zeros((2, 6, 8))), "broken": (2, "trilinear", broken),
        "first": (1, "trilinear", drawn("clip-first", T, H, W) + np.arange(T, 0, -1)[:, None, None]),
        "peaks": (0, "trilinear", peaks), "even": (2, "trilinear", even),
        "intervals": (0, "nearest", np.array([0.25, 1.0, 0.5, -1.0]).reshape(T, 1, 1)),
        "still": (3, "trilinear", dyadic("clip-still", 1, 6, 8)),
    }
    return {name: (i, rule, values.astype(np.float32)) for name, (i, rule, values) in found.items()}


def truths() -> dict[str, list[np.ndarray]]:
    """Truths by key, one for each of three clips, then an empty one and a full one, then one for the fourth clip: a square that
    moves through two frames, scattered positions of three, single ones of two, and a square."""
    mask = np.zeros((5, T, H, W), bool)
    for t in (1, 2):
        mask[0, t, 3:11, 4 + 3 * t : 14 + 3 * t] = True
    mask[1, 1:] = drawn("clip-mask", T - 1, H, W) < 0.4
    mask[2, 0, 10, 10] = mask[2, 2, 0, 31] = mask[4] = True
    return {"mask": [*mask, mask[0, 1:2]]}


def models() -> dict[str, Model]:
    """A small network that sees neighbouring frames together, a linear model of block means, which takes T frames, and a
    constant one."""
    cnn = [{"op": "conv3d", "weight": "1.weight", "bias": "1.bias", "stride": 2, "padding": 1}, {"op": "tanh"},
           {"op": "conv3d", "weight": "2.weight", "bias": "2.bias", "stride": 2, "padding": 1}, {"op": "tanh"},
           {"op": "average-pool", "grid": [1, 3, 4]}, {"op": "flatten"},
           {"op": "linear", "weight": "3.weight", "bias": "3.bias"}]

    def line(*grid: int) -> list[dict[str, object]]:
        return [{"op": "average-pool", "grid": list(grid)}, {"op": "flatten"},
                {"op": "linear", "weight": "1.weight", "bias": "1.bias"}]

    return {
        "cnn": (cnn, {
            "1.weight": weights("clip-c1", 6, 3, 3, 3, 3), "1.bias": weights("clip-c1b", 6),
            "2.weight": weights("clip-c2", 8, 6, 3, 3, 3), "2.bias": weights("clip-c2b", 8),
            "3.weight": weights("clip-c3", CLASSES, 96), "3.bias": weights("clip-c3b", CLASSES)}),
        "linear": (line(T, 6, 8), {"1.weight": weights("clip-l", CLASSES, 3 * T * 48), "1.bias": weights("clip-lb", CLASSES)}),
        "constant": (line(1, 1, 1), {"1.weight": np.zeros((CLASSES, 3), np.float32),
                                     "1.bias": np.array([40, 1, 0, -1, 2], np.float32)}),
    }
