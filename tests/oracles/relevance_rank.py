"""Relevance rank accuracy (Arras, Osman and Samek 2022, eq. 2)."""

import numpy as np

from oracles import maps


def relevance_rank(image: np.ndarray, attribution: np.ndarray, truth: np.ndarray) -> float:
    """Share of the K most relevant positions that lie inside a truth of K positions."""
    K = int(truth.sum())
    top = maps.order(maps.bilinear(attribution, image.shape[1:]))[:K]
    return sum(1 for place in top if truth.flat[place]) / K
