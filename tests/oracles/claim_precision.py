"""Claim precision: claimed causes that are causes, by the claims."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from oracles import removals, texts


def claim_precision(
    model: Callable[[np.ndarray], np.ndarray], image: np.ndarray, payload: np.ndarray, target: int, parts: Sequence[int],
    truths: Mapping[str, np.ndarray], concepts: Sequence[str], mean: Sequence[float], std: Sequence[float], *, share: float,
    fill: str,
) -> float:
    effects = removals.effects(model, image, target, parts, truths, concepts, mean, std, fill)
    return texts.precision(removals.claims(payload), removals.causes(effects, share), match="pair")


VARIANTS = removals.VARIANTS
