"""Comparisons that may be looked at while items come in, by bets on bounded differences (clause 7.5).

A mean of bounded differences is tested by betting against it (Waudby-Smith and Ramdas 2024): if the mean is what the test says,
no strategy is expected to win money, so capital above 1/alpha at any time has a probability of at most alpha (Ville 1939). That
holds at every look and whatever the shape of the distribution. The flips of signs of 7.4.1 do not: they need
differences that are symmetric where nothing differs, and many looks and comparisons turn a skew into false decisions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, log
from typing import Literal, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray
from vxp_schemas import typed

from vxp.core import VxpError
from vxp.stats.inference import Floats, Inference, Range

BETS = 16
"""Shares of the capital that are bet, side by side."""
SHARES = np.sin(np.pi * (2 * np.arange(BETS) + 1) / (4 * BETS)) ** 2
"""Nodes of Chebyshev's quadrature for the law Beta(1/2, 1/2), the prior of universal portfolios (Cover and Ordentlich 1996)."""
GROWTH = 1.5
"""A look comes when there are so many times the clusters of the look before."""
STEPS = 40
"""Halvings that find an end of an interval, to 1e-12 of the bound."""


@dataclass(frozen=True)
class Until:
    """The question that a run stops at. width: of the widest interval; None where pairs are to be separated. score: a metric or
    signature; None for those of the task's primary family."""

    width: float | None = None
    score: str | None = None

    def __str__(self) -> str:
        words = ["separated"] if self.width is None else ["width", f"{self.width:g}"]
        return ":".join(words if self.score is None else [*words, self.score])


def until(text: str) -> Until:
    """`separated`, `width:W`, and either with `:SCORE` behind it; VxpError for other words."""
    found = re.fullmatch(r"(?:separated|width:([^:]+))(?::(.+))?", text)
    try:
        width = None if found is None or found[1] is None else float(found[1])
    except ValueError:
        found = None
    if found is None or (width is not None and not 0 < width < float("inf")):
        raise VxpError(f"--until {text!r} is unknown; expected separated, or width:W with a width above 0 such as width:0.05, "
                       "and where one score alone counts :SCORE behind it, such as separated:insertion")
    return Until(width, found[2])


def looks(clusters: int, first: int) -> list[int]:
    """After how many clusters of a task with so many it is looked, first after `first`; VxpError where there are fewer."""
    if clusters < first:
        raise VxpError(f"the task has {clusters} clusters, and nothing is decided on fewer than {first}: leave out --until")
    found = [first]
    while found[-1] < clusters:
        found.append(min(clusters, ceil(GROWTH * found[-1])))
    return found


# ------------------------------------------------------------------------------------------------------------------ capital


def capital(returns: Floats) -> Floats:
    """Logarithm of the capital after every round, [..., G], of bets that return r per unit in each round, r >= -1 [..., G]:
    the mean over SHARES of the product of 1 + share·r."""
    found = np.full(returns.shape, -np.inf)
    for share in SHARES:
        np.logaddexp(found, np.cumsum(np.log1p(share * returns), axis=-1), out=found)
    return found - log(BETS)


def last_capital(returns: Floats) -> float:
    """The same after the last round only [G], in a tenth of the time."""
    return float(np.logaddexp.reduce(np.log1p(np.outer(SHARES, returns)).sum(axis=1))) - log(BETS)


@dataclass(frozen=True, eq=False)
class Differences:
    """Sums [..., G] and counts [..., G] of the differences of items, by cluster in the order in which they came.

    bound: the largest size of a difference of one item; largest: the number of items of the task's largest cluster.
    """

    sums: Floats
    counts: Floats
    bound: float
    largest: int

    def above(self, mean: float = 0.0) -> Floats:
        """Returns [..., G] of bets that the mean difference is above this one, which is above -bound."""
        return np.asarray((self.sums - mean * self.counts) / (self.largest * (self.bound + mean)))

    def below(self, mean: float = 0.0) -> Floats:
        """Returns of bets that it is below this one, which is below bound."""
        return np.asarray((mean * self.counts - self.sums) / (self.largest * (self.bound - mean)))

    def p(self, at: Sequence[int]) -> Floats:
        """Two-sided p [..., L] of a mean difference of 0, after each look at so many clusters; p of all looks hold together."""
        capitals = np.maximum(capital(self.above()), capital(self.below()))[..., np.asarray(at) - 1]
        return np.asarray(np.minimum(1.0, 2 * np.exp(-np.maximum.accumulate(capitals, axis=-1))))

    def mean(self, after: int) -> float:
        """The mean difference of the items of the first clusters; NaN where there is none."""
        counts = float(self.counts[:after].sum())
        return float(self.sums[:after].sum()) / counts if counts else float("nan")

    def interval(self, after: int, level: float) -> tuple[float, float]:
        """The means that bets have not refuted after so many clusters: intervals that hold together, at every look."""
        first = Differences(self.sums[:after], self.counts[:after], self.bound, self.largest)
        middle, most = first.mean(after), log(2 / (1 - level))
        if np.isnan(middle):
            return -self.bound, self.bound
        # capital against the mean of what came is at most 1, and grows as the mean that is bet against moves away from it
        low = _crossing(-self.bound, middle, lambda mean: last_capital(first.above(mean)) < most)
        high = _crossing(self.bound, middle, lambda mean: last_capital(first.below(mean)) < most)
        return low, high


def _crossing(refuted: float, kept: float, keeps: Callable[[float], bool]) -> float:
    """Where bets begin to refute, from an end of the range, which no difference can pass, to a mean that they keep."""
    end = refuted
    for _ in range(STEPS):
        half = (refuted + kept) / 2
        refuted, kept = (refuted, half) if half != end and keeps(half) else (half, kept)
    return refuted


def differences(
    a: Floats, b: Floats, clusters: Sequence[str], scale: Range, largest: int,
) -> Differences:
    """Differences a - b of two systems on the items in the order in which they came; an item without both numbers has no part.

    scale: the range of the score; VxpError where it has no end, since bets on differences without bound can be lost.
    """
    low, high = scale
    if low is None or high is None:
        raise VxpError(f"the score's range is {list(scale)}, expected two ends: a score without an end cannot be watched")
    names = {name: j for j, name in enumerate(dict.fromkeys(clusters))}
    where = np.array([names[name] for name in clusters], dtype=np.int64)
    apart = np.asarray(a, float) - np.asarray(b, float)
    both = np.isfinite(apart)
    counts = np.bincount(where[both], minlength=len(names)).astype(np.float64)
    sums = np.bincount(where[both], apart[both], minlength=len(names))
    return Differences(np.asarray(sums, np.float64), counts, high - low, largest)


# ----------------------------------------------------------------------------------------------------------------- deciding


@dataclass(frozen=True, eq=False)
class Comparison:
    """One asked difference a - b of two systems on a score."""

    a: str
    b: str
    signature: str
    differences: Differences


@dataclass(frozen=True)
class Found:
    """What the last look says of a comparison; decided: after how many clusters it was, None where it is not."""

    a: str
    b: str
    signature: str
    n: int
    clusters: int
    delta: float
    lo: float
    hi: float
    p: float
    p_adjusted: float
    decided: int | None


@dataclass(frozen=True)
class Verdict:
    """What looks have found. undecided: after every look, how many pairs are not yet separated, or how many intervals are
    still too wide; the run stops where none is."""

    undecided: tuple[int, ...]
    found: tuple[Found, ...]

    @property
    def decided(self) -> bool:
        return self.undecided[-1] == 0


def undecided(comparisons: Sequence[Comparison], at: Sequence[int], question: Until, inference: Inference) -> list[int]:
    """After each look how many pairs are not yet separated, or how many intervals are still too wide (7.5.5)."""
    met = _met(comparisons, at, question, _tested(comparisons, at, inference)[1], inference)
    return [_left(comparisons, met[:, :look + 1], question) for look in range(len(at))]


def decide(comparisons: Sequence[Comparison], at: Sequence[int], question: Until, inference: Inference) -> Verdict:
    """The verdict of looks after so many clusters."""
    p, adjusted = _tested(comparisons, at, inference)
    met = _met(comparisons, at, question, adjusted, inference)
    found = []
    for i, c in enumerate(comparisons):
        lo, hi = c.differences.interval(at[-1], inference.level)
        when = np.flatnonzero(met[i])
        counts = c.differences.counts[:at[-1]]
        found.append(Found(c.a, c.b, c.signature, int(counts.sum()), int((counts > 0).sum()), c.differences.mean(at[-1]), lo,
                           hi, float(p[i, -1]), float(adjusted[i, -1]), at[when[0]] if len(when) else None))
    return Verdict(tuple(_left(comparisons, met[:, :look + 1], question) for look in range(len(at))), tuple(found))


def _tested(comparisons: Sequence[Comparison], at: Sequence[int], inference: Inference) -> tuple[Floats, Floats]:
    """p [M, L] at every look, and adjusted over all comparisons."""
    p = np.stack([c.differences.p(at) for c in comparisons])
    return p, np.array([inference.adjusted(list(column)) for column in p.T]).T


def _met(
    comparisons: Sequence[Comparison], at: Sequence[int], question: Until, adjusted: Floats, inference: Inference
) -> NDArray[np.bool_]:
    """Whether each look finds a comparison separated, or its interval narrow [M, L]."""
    clusters = np.stack([np.cumsum(c.differences.counts > 0)[np.asarray(at) - 1] for c in comparisons])
    if question.width is None:
        return np.asarray(np.vectorize(inference.separated, otypes=[bool])(adjusted, clusters))
    ends = np.array([[c.differences.interval(after, inference.level) for after in at] for c in comparisons])
    return np.asarray((ends[..., 1] - ends[..., 0] <= question.width) & (clusters >= inference.min_clusters))


def _left(comparisons: Sequence[Comparison], met: NDArray[np.bool_], question: Until) -> int:
    """How many pairs, or intervals, none of these looks decides [M, L]."""
    ever = [bool(row.any()) for row in met]
    if question.width is not None:
        return ever.count(False)
    pairs = {(c.a, c.b) for c in comparisons}
    return len(pairs - {(c.a, c.b) for c, done in zip(comparisons, ever, strict=True) if done})


class Facts(TypedDict):
    """What a score is, as results and the declarations of metrics say it."""

    signature: str
    family: str
    level: Literal["sample", "set"]
    better: typed.Better
    range: list[float | None]


Score = TypeVar("Score", Facts, typed.ResultScore)


def watched(scores: Sequence[Score], question: Until, family: str) -> list[Score]:
    """The scores that a question is about (7.5.2): the one that it names, by signature or metric, or those of the task's
    primary family; of them those of items that have a direction and a range with two ends. VxpError where there is none."""
    named = [s for s in scores if question.score in (s["signature"], s["signature"].partition("@")[0])
             or (question.score is None and s["family"] == family)]
    found = [s for s in named if s["level"] == "sample" and s["better"] != "neither" and None not in s["range"]]
    if not found:
        what = f"the family {family}" if question.score is None else str(question.score)
        able = sorted({s["signature"].partition("@")[0] for s in scores
                       if s["level"] == "sample" and s["better"] != "neither" and None not in s["range"]})
        why = "scores without an end of their range, of the set, or without a direction" if named else "no score of this run"
        raise VxpError(f"--until asks for {what}, which has {why}: name one of {', '.join(able) or 'other metrics'}")
    return found
