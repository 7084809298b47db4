"""Softmax information curve (Kapishnikov et al. 2019)."""

from collections.abc import Sequence

import numpy as np

from oracles import UndefinedError, curves, pic
from oracles.curves import Model


def pic_sic(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, rows: str, information: str, fill: str, least: float,
) -> float:
    """Area under the target's probability, between that of the blurred image and that of the image, over information."""

    def relative(row: float, whole: float) -> float:
        if whole < 1e-12:
            raise UndefinedError("saturated")
        return min(1.0, row / whole)

    return pic.area(image, attribution, mean, std, seed, item, rows=rows, information=information, fill=fill,
                    performance=lambda row: curves.probability(model, row, target), least=least, published=relative)


VARIANTS = [{"least": 0.0}, {"rows": "filled"}, {"rows": "filled", "fill": "black"}, {"rows": "filled", "fill": "noise"}]
TOLERANCE = pic.TOLERANCE
