"""Relevance of concepts: the area under the ROC curve of absolute scores of cells, relevant against irrelevant."""

from collections.abc import Sequence
from typing import Any

from oracles import concepts


def concept_relevance_auc(samples: list[dict[str, Any]], clusters: Sequence[str], *, tau: float, tau0: float) -> float:
    """How often a relevant cell has the greater absolute score of the two."""
    cells = list(concepts.cells(samples))
    high = [abs(score) for score, _, effect in cells if abs(effect) > tau]
    low = [abs(score) for score, _, effect in cells if abs(effect) < tau0]
    won = sum((a > b) + (a == b) / 2 for a in high for b in low)
    return won / (len(high) * len(low))


VARIANTS = [{"tau": 0.5, "tau0": 0.5}, {"tau": 0.25, "tau0": 0.05}, {"tau": 2.0, "tau0": 1.0}]
