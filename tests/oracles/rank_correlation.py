"""Rank correlation of weights with what the output loses (Apostolidis et al., ISM 2022)."""

from collections.abc import Sequence

import numpy as np

from oracles import UndefinedError, fragments, sequences
from oracles.sequences import Scorer


def rank_correlation(
    model: Scorer, image: np.ndarray, attribution: np.ndarray, parts: Sequence[int], *, sign: str, explanandum: str, fill: str,
) -> float:
    """Spearman's correlation of the fragments' weights with the changes without each."""
    weights = sequences.weights(attribution, parts)
    if len(weights) < 2:
        raise UndefinedError("zero-variance")
    rescored, of = sequences.rescored(model, image, parts, fill), sequences.compared(parts, fill)
    scores = rescored([])
    changes = [fragments.change(scores, rescored, k, of, explanandum=explanandum) for k in range(len(weights))]
    return fragments.rank_correlation(weights, changes, sign=sign)


VARIANTS = [{"sign": sign, "explanandum": explanandum, "fill": fill} for sign in ("signed", "absolute")
            for explanandum in ("mean-score", "rank-order") for fill in ("zero", "remove", "mean-step", "hold")]
