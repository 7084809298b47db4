"""Deletion of fragments (Petsiuk et al. 2018 over the measure of Tsigos et al. 2024)."""

from collections.abc import Sequence

import numpy as np

from oracles import fragments, sequences
from oracles.sequences import Scorer


def fragment_deletion(model: Scorer, image: np.ndarray, attribution: np.ndarray, parts: Sequence[int], *, fill: str) -> float:
    """Mean of tau_b without the k most relevant fragments."""
    weights = sequences.ranking(attribution, parts, 2)
    rescored, of = sequences.rescored(model, image, parts, fill), sequences.compared(parts, fill)
    return fragments.fragment_deletion(weights, rescored([]), rescored, of)


VARIANTS = [{"fill": fill} for fill in ("zero", "remove", "mean-step", "hold")]
