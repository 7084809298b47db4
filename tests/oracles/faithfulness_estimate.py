"""Faithfulness estimate (Alvarez-Melis and Jaakkola 2018)."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from oracles import curves, fills, maps, subsets
from oracles.curves import Model


def faithfulness_estimate(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, mean: Sequence[float], std: Sequence[float],
    seed: int, item: str, *, steps: int, fill: str, readout: str,
) -> float:
    """Pearson over groups of ranks: the map's sum over the group against what the output loses without it alone."""

    def output(row: np.ndarray) -> float:
        return curves.probability(model, row, target) if readout == "probability" else float(model(row)[target])

    values = maps.bilinear(attribution, image.shape[1:])
    ranked, flat = maps.order(values), [float(v) for v in values.ravel()]
    counts = curves.cuts(steps, image[0].size)
    whole = output(image)
    masses, drops = [], []
    for a, b in pairwise(counts):
        group = ranked[a:b]
        masses.append(math.fsum(flat[p] for p in group))
        drops.append(whole - output(fills.removed(image, group, fill, mean, std, seed, item)))
    return subsets.pearson(masses, drops)


VARIANTS = [{}, {"readout": "logit"}, {"fill": "blur"}, {"fill": "nli"}, {"steps": 2}]
TOLERANCE = 1e-4  # the float32 outputs of groups that matter little leave few digits to their correlation
