"""Discoverability of objects of 2024, of the end `most` (Tsigos et al. 2024)."""

from collections.abc import Sequence

import numpy as np

from oracles import fragments
from oracles import objects as blanked
from oracles.objects import Model


def object_disc_plus(
    model: Model, image: np.ndarray, attribution: np.ndarray, objects: Sequence[int], mean: Sequence[float],
    std: Sequence[float], seed: int, item: str, *, rank: int, mode: str, fill: str,
) -> float:
    """tau_b without the most relevant objects."""
    weights = blanked.ranking(attribution, objects, 4)
    rescored = blanked.rescored(model, image, objects, mean, std, seed, item, fill=fill)
    return fragments.disc_2024(weights, rescored([]), rescored, None, end="most", rank=rank, mode=mode)


VARIANTS = [{"rank": 2}, {"rank": 3, "mode": "sequential"}, {"fill": "hold"}, {"fill": "blur"}]
