"""How far scores that were computed again may be off: measured, and kept in the registry."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import log, sqrt

import vxp_schemas
from vxp_schemas import ToleranceClass, Tolerances

ORDER = ("fp32", "tf32", "bf16")
"""Precision classes from the finest; two machines agree as far as the coarser of theirs."""
BIAS_SHARE = 0.2
"""A mean difference of at most this share of the tolerance is no finding: the tolerance is ten times (bf16: three times) the
largest difference of one item that was measured, and a mean of many items is far below their largest."""
BIAS_CHANCE = 1e-4
"""How often differences of the same sizes and of fair signs pass the limit of their mean."""


@cache
def document() -> Tolerances:
    """The registry's tolerances."""
    return vxp_schemas.tolerances()


def of_score(signature: str, precisions: tuple[str, str]) -> float:
    """The admitted difference of a score, by its signature, between two precisions; relative for values above 1.

    A key of the registry is a metric, or a metric and parameters that its tolerance is for; the largest that fits counts.
    A coarser precision never has a smaller tolerance than a finer one: an imputation is off in each.
    """
    name, *given = signature.split("|")
    own = {name.partition("@")[0], *given}
    classes = {"fp32", max(precisions, key=ORDER.index)}
    return max(_largest(document()["classes"][known], own) for known in classes)


def _largest(known: ToleranceClass, own: set[str]) -> float:
    fitting = [float(limit) for key, limit in known["metrics"].items() if set(key.split("|")) <= own]
    return max(fitting, default=float(known["scores"]))


def of_bias(differences: Sequence[float], tolerance: float) -> float:
    """The admitted mean of signed differences d of one score, submitted minus computed again.

    Rounding is to both sides. For fair signs P(|sum d| > z sqrt(sum d^2)) <= 2 exp(-z^2/2) whatever the sizes (Hoeffding
    1963), so the mean may be z sqrt(sum d^2)/n with the z of BIAS_CHANCE, and BIAS_SHARE of the tolerance in any case.
    Equal differences of one sign pass it from 20 items on.
    """
    z = sqrt(2 * log(2 / BIAS_CHANCE))
    chance = z * sqrt(sum(d * d for d in differences)) / len(differences) if differences else 0.0
    return max(BIAS_SHARE * tolerance, chance)


def of_target_score(precisions: tuple[str, str]) -> float:
    """For the target's probability on the unchanged input."""
    return float(_coarser(precisions)["target_score"])


def of_maps(precisions: tuple[str, str]) -> float | None:
    """For maps made again: difference over the stored map's range; None where rounding changes maps too much to compare."""
    found = _coarser(precisions).get("maps")
    return None if found is None else float(found)


def _coarser(precisions: tuple[str, str]) -> ToleranceClass:
    return document()["classes"][max(precisions, key=ORDER.index)]
