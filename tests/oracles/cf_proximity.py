"""Proximity of a counterfactual: the mean absolute change (L1)."""

from collections.abc import Sequence

import numpy as np

from oracles import counterfactuals


def cf_proximity(image: np.ndarray, payload: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> float:
    """The mean over values of |change| in raw units."""
    changes = counterfactuals.changes(image, payload, mean, std)
    return sum(abs(int(changes[at])) for at in counterfactuals.values(image)) / 255 / changes.size
