"""Symmetric relevance gain (Bluecher, Vielhaben and Strodthoff 2024)."""

from collections.abc import Sequence

import numpy as np

from oracles import curves
from oracles.curves import Model


def srg(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, steps: int, fill: str,
) -> float:
    """Area of the least-relevant-first curve minus area of the most-relevant-first curve.

    Over the fraction removed; least-relevant-first removes P - k_(S-s) positions at step s (clause [curve]), so that its rows
    are those of insertion into the same fill, read backwards.
    """
    P = image[0].size
    counts = curves.cuts(steps, P)
    backwards = [P - k for k in reversed(counts)]
    most, least = (
        curves.removing(model, image, attribution, target, mean, std, seed, item, counts=which, fill=fill, most=first)
        for which, first in ((counts, True), (backwards, False))
    )
    return curves.area(least, backwards, P) - curves.area(most, counts, P)


VARIANTS = [{"fill": "mean"}, {"fill": "blur"}]
