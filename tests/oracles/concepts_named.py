"""How many concepts an explanation names."""

import numpy as np


def concepts_named(payload: np.ndarray) -> float:
    """The share of scores that are not 0."""
    return sum(float(score) != 0 for score in payload) / len(payload)
