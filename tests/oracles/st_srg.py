"""Symmetric relevance gain over the voxels of a clip (Bluecher, Vielhaben and Strodthoff 2024)."""

from collections.abc import Sequence

import numpy as np

from oracles import srg
from oracles.curves import Model


def st_srg(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, steps: int, fill: str,
) -> float:
    """Area while the least relevant voxels go first, less that while the most relevant do."""
    return srg.srg(model, image, attribution, target, mean, std, seed, item, steps=steps, fill=fill)


VARIANTS = [{"fill": "hold"}, {"fill": "mean"}]
