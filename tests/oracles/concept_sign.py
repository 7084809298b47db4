"""Signs of concepts: how many relevant cells have a score of the effect's sign."""

from collections.abc import Sequence
from typing import Any

from oracles import concepts


def concept_sign(samples: list[dict[str, Any]], clusters: Sequence[str], *, tau: float) -> float:
    """The share of relevant cells whose score has the sign of the effect."""
    right = [concepts.sign(score) == concepts.sign(effect) for score, _, effect in concepts.cells(samples) if abs(effect) > tau]
    return sum(right) / len(right)


VARIANTS = [{"tau": 0.5}, {"tau": 0.05}, {"tau": 2.0}]
