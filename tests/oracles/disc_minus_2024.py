"""Discoverability- of 2024 (Tsigos et al. 2024)."""

from collections.abc import Sequence

import numpy as np

from oracles import fragments, sequences
from oracles.sequences import Scorer


def disc_minus_2024(
    model: Scorer, image: np.ndarray, attribution: np.ndarray, parts: Sequence[int], *, rank: int, mode: str, fill: str,
) -> float:
    """tau_b without the least relevant fragments."""
    weights = sequences.ranking(attribution, parts, 4)
    rescored, of = sequences.rescored(model, image, parts, fill), sequences.compared(parts, fill)
    return fragments.disc_2024(weights, rescored([]), rescored, of, end="least", rank=rank, mode=mode)


VARIANTS = [{"rank": rank, "mode": mode, "fill": fill} for rank in (1, 2, 3) for mode in ("one-by-one", "sequential")
            for fill in ("zero", "remove")]
