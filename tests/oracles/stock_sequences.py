"""Sequences of features of the vectors, their scores of parts, and models that score their steps."""

from functools import cache
from itertools import accumulate, pairwise

import numpy as np

from oracles.stock import Model, Stock, drawn, dyadic, weights

D = 4
LENGTHS = ([2, 3, 4, 2, 5, 3, 1, 4], [3, 3, 3, 3, 3, 3, 3], [1, 2, 3, 2, 1, 3, 2, 2, 3, 1], [6], [2, 3, 2])
"""Of every sequence the lengths of its fragments: eight, seven of one length, ten, a single one, and three."""


@cache
def sequences() -> Stock:
    return Stock("sequence-", inputs(), attributions(), {"users": summaries()}, models(),
                 sound=("random", "native", "ties", "frames", "close"), apart=("unfit",),
                 parts=[{"fragment": divided(lengths), "second": [t // 5 for t in range(sum(lengths))]} for lengths in LENGTHS],
                 segments=[ranges(lengths) for lengths in LENGTHS], output="sequence")


def ranges(lengths: list[int]) -> np.ndarray:
    """The fragments as ranges of frames, three for every step."""
    ends = 3 * np.cumsum(lengths)
    return np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1).astype(np.int64)


def summaries() -> list[np.ndarray]:
    """Of every sequence the summaries of four people, of four frames for every step: the list of fragments ends before them."""
    return [drawn(f"sequence-users-{i}", 4, 4 * sum(lengths)) < 0.2 for i, lengths in enumerate(LENGTHS)]


def divided(lengths: list[int]) -> list[int]:
    """The fragment of every step."""
    edges = pairwise(accumulate(lengths, initial=0))
    return [k for k, (start, end) in enumerate(edges) for _ in range(start, end)]


@cache
def inputs() -> list[np.ndarray]:
    """Sequences [D, n], float32. In the second, steps have few values, so that scores tie."""
    found = [2 * drawn(f"sequence-{i}", D, sum(lengths)) - 1 for i, lengths in enumerate(LENGTHS)]
    found[1] = np.floor(found[1] * 2) / 2
    return [values.astype(np.float32) for values in found]


def attributions() -> dict[str, tuple[int, str, np.ndarray]]:
    """Scores of parts by name, with the number of the sequence that each belongs to and their unit.

    close: equal in whole thousandths."""
    counts, steps = [len(lengths) for lengths in LENGTHS], [sum(lengths) for lengths in LENGTHS]
    broken = dyadic("sequence-broken", counts[0])
    broken[2] = np.nan
    found = {
        "random": (0, "fragment", 2 * drawn("sequence-random", counts[0]) - 1),
        "native": (1, "fragment", dyadic("sequence-native", counts[1])),
        "ties": (2, "fragment", np.floor(drawn("sequence-ties", counts[2]) * 3) / 2 - 0.5),
        "frames": (2, "frame", dyadic("sequence-frames", steps[2])),
        "seconds": (0, "second", dyadic("sequence-seconds", (steps[0] - 1) // 5 + 1)),
        "negative": (1, "fragment", -1 - drawn("sequence-negative", counts[1])),
        "rising": (0, "fragment", np.arange(counts[0]) / 8), "constant": (2, "fragment", np.full(counts[2], 0.3)),
        "broken": (0, "fragment", broken), "one": (3, "fragment", np.ones(counts[3])),
        "unfit": (3, "fragment", np.full(counts[3], 0.5)),
        "close": (2, "fragment", 0.5 + np.floor(drawn("sequence-close", counts[2]) * 8) / 8192),
        "three": (4, "fragment", dyadic("sequence-three", counts[4])),
    }
    return {name: (i, rule, values.astype(np.float32)) for name, (i, rule, values) in found.items()}


def models() -> dict[str, Model]:
    """A small network in which every step depends on all, by their mean; a linear model of neighbours, whose sums are exact, so
    that scores tie for everybody; and a constant one."""
    def conv(n: int, padding: int) -> dict[str, object]:
        return {"op": "conv1d", "weight": f"{n}.weight", "bias": f"{n}.bias", "stride": 1, "padding": padding}

    flat: dict[str, object] = {"op": "flatten"}
    return {
        "cnn": ([conv(1, 1), {"op": "tanh"}, {"op": "centre"}, conv(2, 1), {"op": "tanh"}, conv(3, 0), flat], {
            "1.weight": weights("sequence-c1", 6, D, 3), "1.bias": weights("sequence-c1b", 6),
            "2.weight": 2 * weights("sequence-c2", 5, 6, 3), "2.bias": weights("sequence-c2b", 5),
            "3.weight": weights("sequence-c3", 1, 5, 1), "3.bias": weights("sequence-c3b", 1)}),
        "linear": ([conv(1, 1), flat], {
            "1.weight": (np.floor(drawn("sequence-l", 1, D, 3) * 8) / 4 - 1).astype(np.float32),
            "1.bias": np.array([0.25], np.float32)}),
        "constant": ([conv(1, 0), flat], {"1.weight": np.zeros((1, D, 1), np.float32), "1.bias": np.array([0.5], np.float32)}),
    }
