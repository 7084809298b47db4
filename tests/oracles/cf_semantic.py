"""Semantic validity of a counterfactual: which exact re-rendering it is nearest to."""

from collections.abc import Mapping

import numpy as np

from oracles import counterfactuals


def cf_semantic(payload: np.ndarray, truths: Mapping[str, np.ndarray], foil: int) -> float:
    """1 where the nearest of the images of all classes is the foil's; of equally near ones the first counts."""
    distances = []
    for image in truths["classes"]:
        total = 0
        for at in counterfactuals.values(payload):
            total += (int(image[at]) - int(payload[at])) ** 2
        distances.append(total / payload.size)
    return float(distances.index(min(distances)) == foil)
