"""Collateral change of a counterfactual: what changes where the two classes do not differ."""

from collections.abc import Mapping, Sequence

import numpy as np

from oracles import UndefinedError, counterfactuals


def cf_collateral(
    image: np.ndarray, payload: np.ndarray, truths: Mapping[str, np.ndarray], labels: Sequence[int], foil: int,
    mean: Sequence[float], std: Sequence[float],
) -> float:
    """The squared change outside the masks of the first label and of the foil, over all of it."""
    if not labels:
        raise UndefinedError("no-label")
    changes, masks = counterfactuals.changes(image, payload, mean, std), truths["class_masks"]
    outside = total = 0
    for c, y, x in counterfactuals.values(payload):
        squared = int(changes[c, y, x]) ** 2
        total += squared
        if not masks[labels[0], y, x] and not masks[foil, y, x]:
            outside += squared
    return outside / total
