"""Accuracy information curve (Kapishnikov et al. 2019)."""

from collections.abc import Sequence

import numpy as np

from oracles import pic
from oracles.curves import Model


def pic_aic(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, rows: str, information: str, fill: str,
) -> float:
    """Area under [the prediction is the target] over information."""
    return pic.area(image, attribution, mean, std, seed, item, rows=rows, information=information, fill=fill,
                    performance=lambda row: float(int(np.argmax(model(row))) == target), least=1.0,
                    published=lambda row, _: row)


VARIANTS = [{}, {"rows": "filled"}, {"rows": "filled", "fill": "mean"}]
TOLERANCE = pic.TOLERANCE
