"""Fidelity- (Gkalelis et al. 2022; Yuan et al. 2022 for graphs)."""

from collections.abc import Sequence

import numpy as np

from oracles import UndefinedError, top_frames
from oracles.curves import Model


def fidelity_minus(
    model: Model, image: np.ndarray, attribution: np.ndarray, labels: Sequence[int], *, top: int, removal: str,
) -> float:
    """Accuracy on the clip less accuracy on the top frames alone."""
    shown, _ = top_frames.rows(image, attribution, top=top, removal=removal)
    if len(labels) == 0:
        raise UndefinedError("no-label")
    return float(top_frames.right(model, image, labels) - top_frames.right(model, shown, labels))


VARIANTS = [{"top": top, "removal": removal} for top in (1, 3) for removal in ("hold", "remove")]
