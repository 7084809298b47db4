"""False positives of concepts: how often an irrelevant cell is called important."""

from collections.abc import Sequence
from typing import Any

from oracles import concepts


def concept_false_positive(samples: list[dict[str, Any]], clusters: Sequence[str], *, tau0: float) -> float:
    """The mean over irrelevant cells of the share of scores that are not 0."""
    called = [share for _, share, effect in concepts.cells(samples) if abs(effect) < tau0]
    return sum(called) / len(called)


VARIANTS = [{"tau0": 0.5}, {"tau0": 0.05}, {"tau0": 2.0}]
