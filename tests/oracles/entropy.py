"""Entropy of a map (Bhatt, Weller and Moura 2020)."""

import math

import numpy as np

from oracles import maps


def entropy(image: np.ndarray, attribution: np.ndarray) -> float:
    """-sum q ln q, q the share of a position in the absolute map."""
    sizes = [abs(float(v)) for v in maps.bilinear(attribution, image.shape[1:]).ravel()]
    total = sum(sizes)
    return -sum(size / total * math.log(size / total) for size in sizes if size > 0)
