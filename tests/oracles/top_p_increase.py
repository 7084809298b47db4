"""Increase in confidence on the most relevant frames (Gkalelis et al. 2022)."""

import numpy as np

from oracles import top_frames
from oracles.curves import Model


def top_p_increase(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, *, top: int, removal: str, readout: str,
) -> float:
    """Whether the target is more probable on the top frames alone."""
    shown, _ = top_frames.rows(image, attribution, top=top, removal=removal)
    before, after = (top_frames.probability(model, clip, target, readout) for clip in (image, shown))
    return float(after > before)


VARIANTS = [{"top": top, "removal": removal, "readout": readout} for top in (1, 3) for removal in ("hold", "remove")
            for readout in ("softmax", "sigmoid")]
