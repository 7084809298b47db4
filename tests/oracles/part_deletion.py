"""Single deletion of FunnyBirds (Hesse, Schaub-Meyer and Roth 2023): scores of parts against what is lost without each."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import stats

from oracles import UndefinedError, fills, maps, removals

Model = Callable[[np.ndarray], np.ndarray]


def part_deletion(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, pieces: Sequence[int],
    truths: Mapping[str, np.ndarray], mean: Sequence[float], std: Sequence[float], seed: int, item: str, *, removal: str,
    readout: str, pool: str,
) -> float:
    """Spearman's correlation over the parts, whose label map is row-major, -1 at none."""
    K = max(pieces) + 1
    if K < 3:
        raise UndefinedError("too-few-regions")
    values = [float(v) for v in maps.bilinear(attribution, image.shape[1:]).ravel()]
    scores = []
    for k in range(K):
        own = [v for v, number in zip(values, pieces, strict=True) if number == k]
        scores.append(math.fsum(own) / (len(own) if pool == "mean" else 1))
    if min(scores) == max(scores):
        raise UndefinedError("constant-groups")
    whole = said(model(image), target, readout)
    lost = []
    for k in range(K):
        if removal == "rendered":
            row = removals.redrawn(image, truths["without"][k], mean, std)
        else:
            gone = [p for p, number in enumerate(pieces) if number == k]
            row = fills.removed(image, gone, removal, mean, std, seed, item, fills.fill(removal, image, mean, std, seed, item))
        difference = whole - said(model(row), target, readout)
        lost.append(0.0 if abs(difference) <= 1e-6 * max(1.0, abs(whole)) else difference)
    if min(lost) == max(lost):
        raise UndefinedError("zero-variance")
    return float(stats.spearmanr(scores, lost).statistic)


def said(logits: np.ndarray, target: int, readout: str) -> float:
    """The target's logit or its probability, of logits as float32 has them."""
    return removals.probability(logits, target) if readout == "probability" else float(logits.astype(np.float32)[target])


VARIANTS = [{"removal": "mean"}, {"removal": "blur", "readout": "probability"}, {"readout": "probability"}, {"pool": "sum"}]
