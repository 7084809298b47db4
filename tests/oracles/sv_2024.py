"""Sanity violation of 2024 (Tsigos et al. 2024)."""

from collections.abc import Sequence

import numpy as np

from oracles import fragments, sequences
from oracles.sequences import Scorer


def sv_2024(model: Scorer, image: np.ndarray, attribution: np.ndarray, parts: Sequence[int], *, mode: str, fill: str) -> float:
    """The share of the ranks at which Disc- is below Disc+."""
    weights = sequences.ranking(attribution, parts, 4)
    rescored, of = sequences.rescored(model, image, parts, fill), sequences.compared(parts, fill)
    return fragments.sv_2024(weights, rescored([]), rescored, of, mode=mode)


VARIANTS = [{"mode": mode, "fill": fill} for mode in ("one-by-one", "sequential")
            for fill in ("zero", "remove", "mean-step", "hold")]
