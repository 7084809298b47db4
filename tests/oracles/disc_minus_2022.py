"""Discoverability- of 2022 (Apostolidis et al., ISM 2022)."""

from collections.abc import Sequence

import numpy as np

from oracles import fragments, sequences
from oracles.sequences import Scorer


def disc_minus_2022(
    model: Scorer, image: np.ndarray, attribution: np.ndarray, parts: Sequence[int], *, mode: str, fill: str,
) -> float:
    """Mean of 1 - tau_b without the least relevant fragments."""
    weights = sequences.ranking(attribution, parts, 6 if mode == "single" else 2)
    rescored, of = sequences.rescored(model, image, parts, fill), sequences.compared(parts, fill)
    return fragments.disc_2022(weights, rescored([]), rescored, of, end="least", mode=mode)


VARIANTS = [{"mode": mode, "fill": fill} for mode in ("single", "batch") for fill in ("zero", "remove", "mean-step", "hold")]
