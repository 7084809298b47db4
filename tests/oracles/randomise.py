"""The model randomisation of MPRT: every tensor drawn anew from its initial distribution, each from its own key."""

import math

import numpy as np

from oracles import philox


def weights(name: str, shape: tuple[int, ...], stream: str, seed: int) -> np.ndarray:
    """A weight of at least two dimensions: N(0, sqrt(2/fan_in)), fan_in = inputs per output unit."""
    deviation = math.sqrt(2 / (math.prod(shape) / shape[0]))
    flat: np.ndarray = deviation * normal(name, math.prod(shape), stream, seed)
    return flat.reshape(shape)


def normal(name: str, size: int, stream: str, seed: int) -> np.ndarray:
    """Standard normal values in the order of memory: element e is channel e % 4 of position e // 4."""
    drawn = philox.normals(philox.key(seed, "", "randomise@1", f"{stream}/{name}"), 0, (size + 3) // 4)
    return np.array([drawn[e % 4, e // 4] for e in range(size)])
