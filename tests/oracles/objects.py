"""Clips of which objects are blanked: what a model of frame scores says without some of them."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from oracles import UndefinedError, fills, fragments

Model = Callable[[np.ndarray], np.ndarray]


def rescored(
    model: Model, image: np.ndarray, objects: Sequence[int], mean: Sequence[float], std: Sequence[float], seed: int, item: str,
    *, fill: str,
) -> fragments.Rescored:
    """The scores of all frames without some objects, as float32 has them; objects: that of every position, -1 for none."""
    made = None if fill in fills.IMPUTED else fills.fill(fill, image, mean, std, seed, item)

    def of(removed: Collection[int]) -> list[float]:
        gone = [p for p, number in enumerate(objects) if number in removed]
        row = fills.removed(image, gone, fill, mean, std, seed, item, made) if gone else image
        return [float(v) for v in model(row).astype(np.float32)]

    return of


def ranking(attribution: np.ndarray, objects: Sequence[int], needed: int) -> list[float]:
    """The mean of the map over the positions of every object, where there are enough and they are ranked."""
    values = attribution.astype(np.float64).ravel()
    of = np.array(objects)
    means = [float(np.sum(values[of == k]) / np.sum(of == k)) for k in range(int(of.max()) + 1)]
    if len(means) < needed:
        raise UndefinedError("too-few-regions")
    if min(means) == max(means):
        raise UndefinedError("constant-groups")
    return means
