"""Deletion and insertion as the authors of RISE publish them (Petsiuk et al. 2018 and the CausalMetric of their code).

`step` is a number of pixels. There are n = ceil(P/step) steps and n + 1 model outputs; the pixels of highest saliency
change first, `step` at a time, the last step taking what is left. The area gives every interval the same weight 1/n.
Ties go to the higher index there (a reversed ascending sort), so only maps without ties can be compared.
"""

from collections.abc import Callable, Sequence

import numpy as np


def rise_curve(
    probability: Callable[[np.ndarray], float], image: np.ndarray, saliency: np.ndarray, substrate: np.ndarray, *,
    mode: str, step: int,
) -> list[float]:
    """Probabilities from image to substrate (`del`) or from substrate to image (`ins`)."""
    now, finish = (image.copy(), substrate) if mode == "del" else (substrate.copy(), image)
    ranked = list(np.argsort(saliency.ravel()))[::-1]
    W = image.shape[2]
    curve = [probability(now)]
    while ranked:
        for place in ranked[:step]:
            now[:, place // W, place % W] = finish[:, place // W, place % W]
        ranked = ranked[step:]
        curve.append(probability(now))
    return curve


def rise_area(curve: Sequence[float]) -> float:
    """All values, the two ends by half, over the number of intervals."""
    return (sum(curve) - curve[0] / 2 - curve[-1] / 2) / (len(curve) - 1)
