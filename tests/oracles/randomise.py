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
    """Standard normal values, one position each, in the order of memory."""
    drawn: np.ndarray = philox.normals(philox.key(seed, "", "randomise@1", f"{stream}/{name}"), 0, size)[0]
    return drawn
