"""Average drop on the most relevant frames (Gkalelis et al. 2022)."""

import numpy as np

from oracles import UndefinedError, top_frames
from oracles.curves import Model


def top_p_average_drop(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, *, top: int, removal: str, readout: str,
) -> float:
    """The share of the target's probability that the top frames alone lose."""
    shown, _ = top_frames.rows(image, attribution, top=top, removal=removal)
    before, after = (top_frames.probability(model, clip, target, readout) for clip in (image, shown))
    if before < 1e-12:
        raise UndefinedError("saturated")
    return max(0.0, before - after) / before


VARIANTS = [{"top": top, "removal": removal, "readout": readout} for top in (1, 3) for removal in ("hold", "remove")
            for readout in ("softmax", "sigmoid")]
