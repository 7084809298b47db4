"""ADCC (Poppi et al. 2021), one item."""

from collections.abc import Callable, Sequence

import numpy as np

from oracles import UndefinedError, curves, maps, masking, subsets
from oracles.curves import Model


def adcc(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, explain: Callable[[np.ndarray, int], np.ndarray], *, fill: str,
) -> float:
    """3 / (1/coherency + 1/(1 - complexity) + 1/(1 - drop)), 0 where one of the three is 0."""
    space = image.shape[1:]
    before = curves.probability(model, image, target)
    if before < 1e-12:
        raise UndefinedError("saturated")
    shown = masking.masked(image, attribution, mean, std, seed, item, keep=100, mask="soft", fill=fill, ties="index")
    own, again = maps.bilinear(attribution, space), maps.bilinear(explain(shown, target), space)
    if own.min() == own.max():
        raise ZeroDivisionError
    coherency = 0.0
    if again.min() < again.max():
        coherency = (1 + subsets.pearson(*([float(v) for v in m.ravel()] for m in (own, again)))) / 2
    soft = maps.bilinear(maps.minmax(attribution.astype(np.float32)), space)
    complexity = sum(float(v) for v in soft.ravel()) / soft.size
    after = curves.probability(model, shown, target)
    drop = max(0.0, before - after) / before
    parts = [coherency, 1 - complexity, 1 - drop]
    return 0.0 if min(parts) == 0 else 3 / sum(1 / part for part in parts)


VARIANTS = [{}, {"fill": "mean"}, {"fill": "blur"}]
