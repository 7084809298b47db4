"""Random subsets of positions, and the correlation of what they hold with what the logit loses."""

import math
from collections.abc import Sequence

import numpy as np

from oracles import fills, maps, philox
from oracles.curves import Model


def subset(key: tuple[int, int], draw: int, P: int, n: int) -> list[int]:
    """The places of the n smallest of P words; four draws share a block, ties go to the lower place."""
    words = philox.words(key, draw // 4, P)[draw % 4]
    return sorted(range(P), key=lambda place: (int(words[place]), place))[:n]


def correlation(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, purpose: str, stream: str, samples: int, n: int, fill: str,
) -> float:
    """Pearson over subsets of n positions: the sum of the map's values against f(x) - f(x without them)."""
    P = image[0].size
    values = [float(v) for v in maps.bilinear(attribution, image.shape[1:]).ravel()]
    key = philox.key(seed, item, purpose, stream)
    whole = float(model(image)[target])
    masses, drops = [], []
    for draw in range(samples):
        places = subset(key, draw, P, n)
        masses.append(math.fsum(values[place] for place in places))
        drops.append(whole - float(model(fills.removed(image, places, fill, mean, std, seed, item))[target]))
    return pearson(masses, drops)


def pearson(a: Sequence[float], b: Sequence[float]) -> float:
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    both = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    spread = math.sqrt(math.fsum((x - mean_a) ** 2 for x in a)) * math.sqrt(math.fsum((y - mean_b) ** 2 for y in b))
    return both / spread
