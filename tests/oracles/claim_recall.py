"""Claim recall: causes that are claimed, by the causes."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from oracles import removals, texts


def claim_recall(
    model: Callable[[np.ndarray], np.ndarray], image: np.ndarray, payload: np.ndarray, target: int, parts: Sequence[int],
    truths: Mapping[str, np.ndarray], concepts: Sequence[str], mean: Sequence[float], std: Sequence[float], *, share: float,
    fill: str,
) -> float:
    effects = removals.effects(model, image, target, parts, truths, concepts, mean, std, fill)
    return texts.recall(removals.claims(payload), removals.causes(effects, share), match="pair")


VARIANTS = removals.VARIANTS
