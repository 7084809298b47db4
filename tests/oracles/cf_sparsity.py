"""Sparsity of a counterfactual."""

from collections.abc import Sequence

import numpy as np

from oracles import counterfactuals


def cf_sparsity(image: np.ndarray, payload: np.ndarray, mean: Sequence[float], std: Sequence[float], *, eps: int) -> float:
    """The share of positions of which a channel changes by more than eps levels."""
    changes = counterfactuals.changes(image, payload, mean, std)
    C, H, W = changes.shape
    return sum(any(abs(int(changes[c, y, x])) > eps for c in range(C)) for y in range(H) for x in range(W)) / (H * W)


VARIANTS = [{"eps": 0}, {"eps": 40}]
