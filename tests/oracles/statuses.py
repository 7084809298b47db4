"""Which status an item has by the definitions: what can be seen of map, truth and number of classes, and what is left where
a score would divide by zero."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from oracles import maps

Sample = Mapping[str, Any]


def evaluated(sample: Sample) -> np.ndarray:
    """The map on the input grid; planes of prototypes are no map, and are taken as they are."""
    if sample["attribution"].ndim == sample["image"].ndim:
        return np.asarray(sample["attribution"])
    return maps.bilinear(sample["attribution"], sample["image"].shape[1:])


def boxes_with_area(truth: np.ndarray) -> np.ndarray:
    return np.asarray((truth[:, 2] > truth[:, 0]) & (truth[:, 3] > truth[:, 1]))


def truth_inside(sample: Sample) -> np.ndarray:
    truth = sample["truth"]
    return boxes_with_area(truth) if truth.ndim == 2 and truth.shape[1] == 4 and truth.dtype != bool else truth > 0


SEEN: dict[str, Callable[[Sample], bool]] = {
    "constant-map": lambda s: bool(evaluated(s).min() == evaluated(s).max()),
    "zero-map": lambda s: not evaluated(s).any(),
    "no-positive-mass": lambda s: bool(evaluated(s).max() <= 0),
    "empty-truth": lambda s: not truth_inside(s).any(),
    "full-truth": lambda s: bool(truth_inside(s).all()),
    "no-mass": lambda s: not s["truth"].any() or ("fixations" in s["truths"] and not s["truths"]["fixations"].any()),
    "single-class": lambda s: len(s["model"](s["image"])) < 2,
}
"""Codes that map, truth and number of classes alone decide."""


def seen(sample: Sample, declared: Sequence[str]) -> str | None:
    """The status that these alone decide, the first of the declared codes that holds; None for none."""
    if not np.isfinite(sample["attribution"]).all():
        return "undefined:non-finite-map"
    return next((f"undefined:{code}" for code in declared if code in SEEN and SEEN[code](sample)), None)


def wide(sample: Sample) -> bool:
    """Whether the map's range is no number of float32, so that it cannot be min-maxed; scores of concepts are no map."""
    if sample["attribution"].ndim == 1:
        return False
    shown = evaluated(sample)
    return float(shown.max()) - float(shown.min()) > float(np.finfo(np.float32).max)


def divided(declared: Sequence[str]) -> str:
    """The status where a score divides by zero although all these are sound."""
    return f"undefined:{next(code for code in declared if code not in SEEN or code == 'zero-map')}"
