"""How intervals and tests are made, and what they give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray
from vxp_schemas import typed

from vxp.core import Better, Metric, VxpError

Floats = NDArray[np.float64]
Range = tuple[float | None, float | None]

FEW_CLUSTERS = 20
"""Below this many clusters nothing is called separated (a sign flip over six cannot go below p = .031)."""
RESAMPLES = 10_000
LEVEL = 0.95
MIN_CLUSTERS = 5
"""Below this many clusters there is no interval: their resamples cannot say how clusters vary."""
ROUNDING = 1e-12
"""Relative size below which a sum or a spread is what rounding left, not a number."""


@dataclass(frozen=True)
class Inference:
    """How intervals and tests are made: what the task's card fixes (7.2.1), or the standard's own figures."""

    level: float = LEVEL
    resamples: int = RESAMPLES
    min_clusters: int = FEW_CLUSTERS
    correction: Literal["holm", "none"] = "holm"

    @classmethod
    def of(cls, stated: typed.TaskStatistics | typed.ResultInference) -> Inference:
        """From a card's `statistics` or a result's `inference`; what neither states is the standard's."""
        return cls(stated.get("level", LEVEL), stated.get("resamples", RESAMPLES), stated.get("min_clusters", FEW_CLUSTERS),
                   stated.get("correction", "holm"))

    def adjusted(self, p_values: Sequence[float]) -> list[float]:
        """p values of tests that are made together, corrected for how many they are."""
        return holm(p_values) if self.correction == "holm" else list(p_values)

    def separated(self, p_adjusted: float, n_clusters: int) -> bool:
        """Whether a pair is told apart (7.4.4). 1 - 0.95 is a little more than 0.05: rounded, so that the limit is the one
        meant."""
        return bool(p_adjusted < round(1 - self.level, 12) and n_clusters >= self.min_clusters)

    def few(self, clusters: Iterable[str]) -> bool:
        """Whether there are too few clusters to call anything separated."""
        return len(set(clusters)) < self.min_clusters


STANDARD = Inference()


@dataclass(frozen=True)
class Scale:
    """The numbers that a metric gives: which are better, what they may be, and whether each is 0 or 1 by definition."""

    better: Better
    range: Range
    binary: bool = False

    @classmethod
    def of(cls, metric: Metric) -> Scale:
        return cls(metric.better, metric.range, metric.binary)

    @property
    def worst(self) -> float | None:
        """The worst number that the range allows; None where it has no end there, or where neither direction is better."""
        ends = {"higher": self.range[0], "lower": self.range[1]}
        return ends.get(self.better)


class Ends(TypedDict):
    """An interval as documents state it, but for the key of its clusters."""

    level: float
    method: Literal["bootstrap-t", "jackknife-t", "wilson"]
    lo: float
    hi: float
    resamples: int
    seed: int
    n_clusters: int


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a mean, and how it was made; by bets it is no interval of a score but of looks (7.5)."""

    level: float
    method: Literal["bootstrap-t", "jackknife-t", "wilson", "bets"]
    lo: float
    hi: float
    resamples: int
    seed: int
    n_clusters: int

    def document(self) -> Ends:
        if self.method == "bets":
            raise VxpError("an interval by bets is no interval of a score: it stands in the field `sequential` of a result")
        return {"level": self.level, "method": self.method, "lo": self.lo, "hi": self.hi, "resamples": self.resamples,
                "seed": self.seed, "n_clusters": self.n_clusters}


@dataclass(frozen=True)
class Paired:
    """A paired difference a - b: its mean, interval, two-sided p, and effect size (mean/sd of cluster differences)."""

    delta: float
    ci: Interval | None
    p: float
    effect_size: float | None
    n: int
    n_clusters: int
    method: str


@dataclass(frozen=True)
class Pair:
    """Two systems on one metric, with p adjusted over all pairs."""

    a: str
    b: str
    paired: Paired
    p_adjusted: float
    separated: bool


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979), in the order given."""
    m, adjusted, highest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
