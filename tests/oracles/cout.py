"""COUT, the counterfactual transition (Khorram and Fuxin 2022)."""

import math
from collections.abc import Sequence

import numpy as np

from oracles import counterfactuals, curves
from oracles.curves import Model


def cout(
    model: Model, image: np.ndarray, payload: np.ndarray, target: int, foil: int, mean: Sequence[float], std: Sequence[float],
    *, steps: int,
) -> float:
    """The area under the foil's probability less the area under the target's, as positions of the counterfactual come in."""
    changes = counterfactuals.changes(image, payload, mean, std)
    C, H, W = changes.shape
    sizes = {(y, x): sum(abs(int(changes[c, y, x])) for c in range(C)) for y in range(H) for x in range(W)}
    ranked = sorted(sizes, key=lambda at: (-sizes[at], at))
    counts, curve = curves.cuts(steps, H * W), []
    for count in counts:
        mixed = counterfactuals.levels(image, mean, std)
        for y, x in ranked[:count]:
            mixed[:, y, x] = payload[:, y, x]
        said = curves.log_softmax(model(counterfactuals.shown(image, mixed, mean, std)))
        curve.append(math.exp(said[foil]) - math.exp(said[target]))
    return curves.area(curves.kept(curve), counts, H * W)


VARIANTS = [{"steps": 1}, {"steps": 48}]
