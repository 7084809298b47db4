"""Average drop (Chattopadhay et al. 2018), one item."""

from collections.abc import Sequence

import numpy as np

from oracles import curves, masking
from oracles.curves import Model


def average_drop(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, keep: int, mask: str, fill: str, ties: str,
) -> float:
    """By how much of itself the target's probability falls on the masked image."""
    before = curves.probability(model, image, target)
    masked = masking.masked(image, attribution, mean, std, seed, item, keep=keep, mask=mask, fill=fill, ties=ties)
    after = curves.probability(model, masked, target)
    return max(0.0, before - after) / before
