"""Deletion of objects (Petsiuk et al. 2018 over the measure of Tsigos et al. 2024)."""

from collections.abc import Sequence

import numpy as np

from oracles import fragments
from oracles import objects as blanked
from oracles.objects import Model


def object_deletion(
    model: Model, image: np.ndarray, attribution: np.ndarray, objects: Sequence[int], mean: Sequence[float],
    std: Sequence[float], seed: int, item: str, *, fill: str,
) -> float:
    """Mean of tau_b without the k most relevant objects."""
    weights = blanked.ranking(attribution, objects, 2)
    rescored = blanked.rescored(model, image, objects, mean, std, seed, item, fill=fill)
    return fragments.fragment_deletion(weights, rescored([]), rescored, None)


VARIANTS = [{"fill": "hold"}, {"fill": "mean"}, {"fill": "noise"}]
