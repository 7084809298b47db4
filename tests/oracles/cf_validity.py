"""Validity of a counterfactual, or flip rate (Wachter, Mittelstadt and Russell 2017)."""

from collections.abc import Sequence

import numpy as np

from oracles import UndefinedError, counterfactuals
from oracles.curves import Model


def cf_validity(
    model: Model, image: np.ndarray, payload: np.ndarray, foil: int, mean: Sequence[float], std: Sequence[float],
) -> float:
    """1 where the model says the foil of the counterfactual."""
    if counterfactuals.predicted(model(image)) == foil:
        raise UndefinedError("already-there")
    return float(counterfactuals.predicted(model(counterfactuals.shown(image, payload, mean, std))) == foil)
