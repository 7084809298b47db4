"""Sanity violation of 2022 (Apostolidis et al., ISM 2022)."""

from collections.abc import Sequence

import numpy as np

from oracles import fragments, sequences
from oracles.sequences import Scorer


def sv_2022(model: Scorer, image: np.ndarray, attribution: np.ndarray, parts: Sequence[int], *, mode: str, fill: str) -> float:
    """Whether Disc- is not below Disc+."""
    weights = sequences.ranking(attribution, parts, 6 if mode == "single" else 2)
    rescored, of = sequences.rescored(model, image, parts, fill), sequences.compared(parts, fill)
    return fragments.sv_2022(weights, rescored([]), rescored, of, mode=mode)


VARIANTS = [{"mode": mode, "fill": fill} for mode in ("single", "batch") for fill in ("zero", "remove", "mean-step", "hold")]
