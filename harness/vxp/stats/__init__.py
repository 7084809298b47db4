"""Statistics over items: intervals by resampling clusters, paired tests, ranks that admit ties.

Items of one cluster (crops of one photo, composites of one stamp) are not independent, so the cluster is what is
resampled and what signs are flipped of. No global generator is read or changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from itertools import product
from math import log, sqrt
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, ndtri, stdtr, stdtrit  # not scipy.stats, which takes a second to import
from torch import Tensor

from vxp.core import Reduce, VxpError

Floats = NDArray[np.float64]
Range = tuple[float | None, float | None]
Better = Literal["higher", "lower"]

FEW_CLUSTERS = 20
"""Below this many clusters nothing is called separated (a sign flip over six cannot go below p = .031)."""
RESAMPLES = 10_000
LEVEL = 0.95
MIN_CLUSTERS = 5
"""Below this many clusters there is no interval: their resamples cannot say how clusters vary."""
BLOCK = 2_000
"""Sign flips per block, so that 10,000 of them over 50,000 clusters stay within memory."""
KEPT_UNIFORMS = 1 << 22
"""Draws that are kept for the next test, 32 MiB of them."""
SET_GROUPS = 2_000
"""At most so many groups of clusters are left out in turn for a metric of the set: each costs a whole reduction."""
SET_BLOCK = 250
DRAWS = 1 << 17
"""Clusters drawn per block of resamples: what stays in cache, whatever the number of clusters."""
EQUAL = 1e-6
"""Relative difference of scores below which two machines, or two batches, may have computed the same."""
ROUNDING = 1e-12
"""Relative size below which a sum or a spread is what rounding left, not a number."""
FLAT = 1e-10
"""Relative size below which the variance of a resample is what rounding left; its t would be above 1e5."""


@dataclass(frozen=True)
class Inference:
    """How intervals and tests are made: what the task's card fixes (7.2.1), or the standard's own figures."""

    level: float = LEVEL
    resamples: int = RESAMPLES
    min_clusters: int = FEW_CLUSTERS
    correction: Literal["holm", "none"] = "holm"

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> Inference:
        """From a card's `statistics` or a result's `inference`; what neither states is the standard's."""
        return cls(**{f.name: stated[f.name] for f in fields(cls) if f.name in stated})

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
class Interval:
    """A confidence interval of a mean, and how it was made."""

    level: float
    method: str
    lo: float
    hi: float
    resamples: int
    seed: int
    n_clusters: int


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


# ------------------------------------------------------------------------------------------------------------ intervals


def interval(
    values: Sequence[float] | Floats, clusters: Sequence[str], *, range: Range = (None, None), binary: bool = False,
    level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0,
) -> Interval | None:
    """Interval of the mean over items, NaN left out; None for fewer than MIN_CLUSTERS clusters.

    Studentised bootstrap over clusters (Efron and Tibshirani 1993, ch. 12): clusters are drawn with replacement, the mean
    is the ratio of the drawn sums to the drawn counts (so it is the mean over items, also when clusters differ in size),
    and the standard error is the linearised one of that ratio. Clipped to the metric's range. Without any variance
    between clusters the interval is the point, with resamples 0. Where a limit falls among resamples without variance,
    whose t is infinite (few clusters differ from the rest), it is Student's with one degree of freedom less than there
    are clusters: leaving those resamples out would cut that tail off. Unclustered proportions (binary: every value is
    0 or 1 by the metric's definition) get Wilson's interval.
    """
    sums, counts, n_clusters = _by_cluster(values, clusters)
    if n_clusters < MIN_CLUSTERS:
        return None
    numbers = np.asarray(values, float)
    numbers = numbers[np.isfinite(numbers)]
    if binary and n_clusters == len(numbers):
        lo, hi = _wilson(float(numbers.mean()), len(numbers), level)
        return Interval(level, "wilson", lo, hi, 0, seed, n_clusters)
    mean, error = _ratio(sums, counts)
    if error == 0:
        return Interval(level, "bootstrap-t", mean, mean, 0, seed, n_clusters)
    t = _studentised(sums - mean * counts, counts, resamples, seed)
    usual = float(stdtrit(n_clusters - 1, (1 + level) / 2))
    low, high = _tails(t, level)
    lo = mean - (high if np.isfinite(high) else usual) * error
    hi = mean - (low if np.isfinite(low) else -usual) * error
    floor, ceiling = range
    lo = lo if floor is None else max(lo, floor)
    hi = hi if ceiling is None else min(hi, ceiling)
    return Interval(level, "bootstrap-t", lo, hi, resamples, seed, n_clusters)


def _by_cluster(values: Sequence[float] | Floats, clusters: Sequence[str]) -> tuple[Floats, Floats, int]:
    """Sum and count of the finite values of every cluster that has one, in order of the clusters' names."""
    numbers = np.asarray(values, float)
    if numbers.shape != (len(clusters),):
        raise VxpError(f"got values of shape {numbers.shape} for {len(clusters)} clusters, expected one cluster per value: "
                       "give every item its value (NaN where there is none) and its cluster")
    keep = np.isfinite(numbers)
    where, g = _numbered(tuple(clusters))
    if not keep.all():
        there, where = np.unique(where[keep], return_inverse=True)
        numbers, g = numbers[keep], len(there)
    # bincount adds in the order of the items; sorting first makes the sum independent of it
    order = np.lexsort((numbers, where))
    sums = np.bincount(where[order], numbers[order], minlength=g)
    counts = np.bincount(where, minlength=g)
    return sums.astype(np.float64), counts.astype(np.float64), g


def count_of_clusters(clusters: Sequence[str], items: NDArray[np.bool_]) -> int:
    """How many clusters have one of these items [N], given as True."""
    return len(np.unique(_numbered(tuple(clusters))[0][items]))


@lru_cache(maxsize=16)
def _numbered(clusters: tuple[str, ...]) -> tuple[np.ndarray, int]:
    """Of every item the number of its cluster in order of the clusters' names, and how many clusters there are. All tests on
    the same items ask for the same, and sorting names costs more than the rest of a sum."""
    names, where = np.unique(np.array(clusters, dtype=object).astype(str), return_inverse=True)
    where.setflags(write=False)
    return where, len(names)


def _ratio(sums: Floats, counts: Floats) -> tuple[float, float]:
    """The mean over items and its cluster-robust standard error (linearised ratio)."""
    g = len(sums)
    mean = float(sums.sum() / counts.sum())
    rest = sums - mean * counts
    error = sqrt(g / (g - 1) * float(rest @ rest)) / float(counts.sum())
    # what rounding leaves of a constant is no variance
    return mean, error if error > ROUNDING * max(1.0, abs(mean)) else 0.0


def _studentised(rest: Floats, counts: Floats, resamples: int, seed: int) -> Floats:
    """t statistics of resampled clusters, from their sums about the mean; infinite where a resample has no variance."""
    g = len(rest)
    generator = np.random.Generator(np.random.Philox(seed))
    columns = np.stack([rest, counts, rest * rest, rest * counts, counts * counts], axis=1)
    smallest = ROUNDING * float(np.abs(rest / counts).max())
    block = max(1, DRAWS // g)
    found = []
    for start in np.arange(0, resamples, block):
        times = _times_drawn(generator, min(block, resamples - int(start)), g)
        r, c, rr, rc, cc = (times @ columns).T
        away = r / c
        squares = rr - 2 * away * rc + away**2 * cc
        # the squares of equal clusters cancel but for rounding, so what is left is judged against what cancelled
        none = squares <= FLAT * (rr + away**2 * cc)
        t = away * c / np.sqrt(g / (g - 1) * np.where(none, 1.0, squares))
        t[none] = np.where(np.abs(away[none]) > smallest, np.copysign(np.inf, away[none]), 0.0)
        found.append(t)
    return np.concatenate(found)


def _tails(t: Floats, level: float) -> tuple[float, float]:
    """The t of rank (R + 1)(1 - level)/2 from either end of R (Davison and Hinkley 1997, section 5.2); no interpolation,
    since some t are infinite."""
    ordered = np.sort(t)
    # 1 - 0.95 is a little more than 0.05: rounded, so that the rank is the one meant
    rank = max(1, int(round((len(t) + 1) * (1 - level) / 2, 6)))
    return float(ordered[rank - 1]), float(ordered[len(t) - rank])


def _times_drawn(generator: np.random.Generator, rows: int, g: int) -> Floats:
    """[rows, g]: how often each of g clusters is drawn in g draws with replacement (faster than the multinomial)."""
    drawn = generator.integers(0, g, size=(rows, g)) + np.arange(rows)[:, None] * g
    return np.bincount(drawn.ravel(), minlength=rows * g).reshape(rows, g).astype(np.float64)


def _wilson(share: float, n: int, level: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion (1927)."""
    z = float(ndtri((1 + level) / 2))
    middle = share + z * z / (2 * n)
    spread = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - spread) / (1 + z * z / n)), min(1.0, (middle + spread) / (1 + z * z / n))


# ---------------------------------------------------------------------------------------------------------- comparisons


def paired(
    a: Sequence[float] | Floats, b: Sequence[float] | Floats, clusters: Sequence[str], *, level: float = LEVEL,
    resamples: int = RESAMPLES, seed: int = 0, intervals: bool = True,
) -> Paired:
    """Paired difference a - b over the items where both are numbers.

    Two-sided sign-flip permutation of the clusters' summed differences: all 2^clusters choices of signs where they are at
    most `resamples`, otherwise their share estimated from so many drawn ones. p = 1 where nothing differs or nothing is
    paired. intervals=False leaves the interval out, which costs more than the test.
    """
    difference = _difference(a, b)
    sums, counts, g = _by_cluster(difference, clusters)
    n = int(counts.sum())
    if n == 0:
        return Paired(float("nan"), None, 1.0, None, 0, 0, "none")
    if g <= np.log2(resamples):
        signs = np.array(list(product((1.0, -1.0), repeat=g)))
        p, method = float((np.abs(signs @ sums) >= _at_least(sums)).mean()), "sign-flip-exact"
    else:
        p, method = _flipped(sums, resamples, seed), "sign-flip"
    means = sums / counts
    sd = float(means.std(ddof=1)) if g > 1 else 0.0
    # what rounding leaves of equal differences is no spread, and would make any effect enormous
    effect = float(means.mean()) / sd if sd > ROUNDING * float(np.abs(means).max()) else None
    ci = interval(difference, clusters, level=level, resamples=resamples, seed=seed) if intervals else None
    return Paired(float(sums.sum()) / n, ci, p, effect, n, g, method)


def sign_flip_bounds(a: Sequence[float] | Floats, b: Sequence[float] | Floats, clusters: Sequence[str]) -> tuple[float, float]:
    """Bounds below and above the p of `paired`, which need no draws: where one of them decides, none are made.

    Of a sum of sizes with fair signs and variance v, the share at t or more in absolute value is at most 2 exp(-t^2 / 2v)
    (Hoeffding 1963), and at least (1 - t^2 / v)^2 / 3 where t^2 < v (Paley and Zygmund 1932, with a fourth moment of at most
    3 v^2).
    """
    sums, _, g = _by_cluster(_difference(a, b), clusters)
    variance, reached = float(np.square(sums).sum()), _at_least(sums)
    if g == 0 or variance == 0 or reached <= 0:
        return 1.0, 1.0
    z = reached**2 / variance
    return max(0.0, 1 - z) ** 2 / 3, min(1.0, 2 * float(np.exp(-z / 2)))


def _flipped(sums: Floats, resamples: int, seed: int) -> float:
    """The share of all choices of signs that reach the observed sum in absolute value, by importance sampling.

    Plain draws cannot say how small a small share is: 10,000 of them give 1e-4 at least, which no correction for more than
    500 comparisons survives. Signs are drawn so that the observed sum is their mean instead (the exponential tilt of
    Siegmund 1976), and each draw counts by how likely it is under fair signs: no bias, and a relative standard error of
    some percent whatever the share. Never below 2^(1 - n) of n sums that are not 0.
    """
    sizes = np.abs(sums[sums != 0])
    reached, most = _at_least(sums), float(sizes.sum())
    least = 0.5 ** (len(sizes) - 1)
    if reached <= 0:
        return 1.0
    if reached >= most - 2 * float(sizes.min()) * (1 - ROUNDING):  # all sums have one sign
        return least
    tilt = _tilt(sizes, reached)
    plus = expit(2 * tilt * sizes)
    log_mean = float(np.logaddexp(tilt * sizes, -tilt * sizes).sum()) - len(sizes) * log(2)
    total = 0.0
    for uniforms in _uniforms(len(sizes), resamples, seed):
        flipped = 2 * ((uniforms < plus) @ sizes) - most
        total += float(np.exp(log_mean - tilt * flipped[flipped >= reached]).sum())
    return min(1.0, max(least, 2 * total / resamples))


def _tilt(sizes: Floats, mean: float) -> float:
    """The t for which signs that are plus with probability 1/(1 + exp(-2 t size)) give sums of this mean: bisection."""
    low, high = 0.0, 1 / float(sizes.max())
    while float(sizes @ np.tanh(high * sizes)) < mean and high < 1e300:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if float(sizes @ np.tanh(middle * sizes)) < mean else (low, middle)
    return high


def _uniforms(g: int, resamples: int, seed: int) -> Iterable[Floats]:
    """Blocks [rows, g] of uniform draws, resamples rows in all."""
    return _kept_uniforms(g, resamples, seed) if g * resamples <= KEPT_UNIFORMS else _drawn_uniforms(g, resamples, seed)


@lru_cache(maxsize=2)
def _kept_uniforms(g: int, resamples: int, seed: int) -> tuple[Floats, ...]:
    """All pairs of methods on the same items take the same draws, which cost more than what is done with them."""
    return tuple(_drawn_uniforms(g, resamples, seed))


def _drawn_uniforms(g: int, resamples: int, seed: int) -> Iterator[Floats]:
    generator = np.random.Generator(np.random.Philox(seed))
    for start in range(0, resamples, BLOCK):
        yield generator.random((min(BLOCK, resamples - start), g))


def _difference(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> Floats:
    """a - b item by item; another count is refused, since NumPy would pair one value with all."""
    first, second = np.asarray(a, float), np.asarray(b, float)
    if first.shape != second.shape:
        raise VxpError(f"got {first.shape} values to pair with {second.shape}, expected the same items in the same order: "
                       "give NaN where an item has no value")
    return np.asarray(first - second, dtype=np.float64)


def _at_least(sums: Floats) -> float:
    """The observed statistic, less what rounding may take from an equal one (which grows with the terms, not the sum)."""
    return abs(float(sums.sum())) - ROUNDING * float(np.abs(sums).sum())


def tie(systems: Sequence[Floats]) -> bool:
    """Whether several systems have equal numbers [N, ...] on every item, to six digits, or none (8.4.3); those without a
    number anywhere are left out, and two are the least that can tie."""
    some = [numbers for numbers in systems if np.isfinite(numbers).any()]
    return len(some) > 1 and all(_alike(some[0], other) for other in some[1:])


def _alike(a: Floats, b: Floats) -> bool:
    close = np.abs(a - b) <= EQUAL * np.maximum(1, np.abs(a))
    return bool((close | (np.isnan(a) & np.isnan(b))).all())


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979), in the order given."""
    m, adjusted, highest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def minimum_detectable(
    a: Sequence[float] | Floats, b: Sequence[float] | Floats, clusters: Sequence[str], *, level: float = LEVEL,
    power: float = 0.8,
) -> float | None:
    """The smallest true difference that a two-sided test at this level finds with this power (normal approximation)."""
    sums, counts, g = _by_cluster(_difference(a, b), clusters)
    if g < 2:
        return None
    return float(ndtri((1 + level) / 2) + ndtri(power)) * _ratio(sums, counts)[1]


def ranking(
    means: Mapping[str, float], pairs: Sequence[Pair], better: Better
) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
    """An interval of ranks for every system, and who is not separated from the one with the best mean (7.4.4)."""
    names = list(means)
    sign = 1 if better == "higher" else -1
    beaten = {name: 0 for name in names}
    beats = {name: 0 for name in names}
    for pair in (p for p in pairs if p.separated):
        winner, loser = (pair.a, pair.b) if sign * pair.paired.delta > 0 else (pair.b, pair.a)
        beats[winner] += 1
        beaten[loser] += 1
    ranks = {name: (1 + beaten[name], len(names) - beats[name]) for name in names}
    tied: tuple[str, ...] = ()
    if names:
        best = max(names, key=lambda name: sign * means[name])
        apart = {frozenset((p.a, p.b)) for p in pairs if p.separated}
        tied = tuple(name for name in names if name == best or frozenset((name, best)) not in apart)
    return ranks, tied


# ------------------------------------------------------------------------------------------- comparisons of set numbers


@dataclass(frozen=True, eq=False)
class Kept:
    """What a metric of the set kept of one system: statistics [N, D], and which items have a part in the number [N]."""

    statistics: Tensor
    ok: NDArray[np.bool_]


def set_paired(reduce: Reduce, a: Kept, b: Kept, clusters: Sequence[str], *, level: float = LEVEL) -> Paired:
    """Difference a - b of the set's numbers over the items where both have a part; NaN where there is none.

    Jackknife: the difference is computed again without each cluster in turn, and Student's t with one degree of freedom
    less than there are clusters gives the interval and the two-sided p (Efron and Tibshirani 1993, ch. 11). Both systems
    lose the same cluster, so the difference is paired. Signs of clusters cannot be flipped here, since the number is no
    sum over clusters: swapping two systems inside of clusters would also mix their thresholds and their neighbours. With
    more than SET_GROUPS clusters so many groups of them are left out instead. p is never below the least that sign
    flips could give, 2^(1 - G), and 1 where a cluster decides whether there is a number at all.
    """
    shared = a.ok & b.ok
    return _set_difference(_left_out(reduce, a, shared, clusters), _left_out(reduce, b, shared, clusters), level)


@dataclass(frozen=True, eq=False)
class _LeftOut:
    """The set's number, and without each group of clusters in turn."""

    number: float
    without: Floats
    n: int
    n_clusters: int


def _left_out(
    reduce: Reduce, kept: Kept, shared: NDArray[np.bool_], clusters: Sequence[str], *, without: bool = True
) -> _LeftOut:
    good = np.flatnonzero(shared)
    names, where = np.unique(np.asarray(clusters, dtype=object).astype(str)[good], return_inverse=True)
    if not len(good):
        return _LeftOut(float("nan"), np.zeros(0), 0, 0)
    statistics, of = kept.statistics[good], torch.from_numpy(where.astype(np.int64))
    number = float(reduce(statistics, of, torch.ones(1, len(good), dtype=torch.float64))[0])
    groups = min(len(names), SET_GROUPS) if without else 0
    found = [reduce(statistics, of, (of % groups != left[:, None]).double()).numpy()
             for left in torch.arange(groups).split(SET_BLOCK) if len(left)]
    return _LeftOut(number, np.concatenate([np.zeros(0), *found]), len(good), len(names))


def _set_difference(a: _LeftOut, b: _LeftOut, level: float) -> Paired:
    delta, without = a.number - b.number, a.without - b.without
    if not np.isfinite(delta):
        return Paired(float("nan"), None, 1.0, None, a.n, a.n_clusters, "none")
    groups = len(without)
    if groups < 2 or not np.isfinite(without).all():
        return Paired(delta, None, 1.0, None, a.n, a.n_clusters, "none")
    error, usual = _jackknife(without, level)
    if error <= ROUNDING:  # what rounding leaves of equal differences
        error, delta = 0.0, 0.0 if abs(delta) <= ROUNDING else delta
    least = 0.5 ** (a.n_clusters - 1)
    p = 1.0 if delta == 0 else least if error == 0 else max(least, 2 * float(stdtr(groups - 1, -abs(delta) / error)))
    ci = Interval(level, "jackknife-t", delta - usual * error, delta + usual * error, groups, 0, a.n_clusters)
    return Paired(delta, ci if a.n_clusters >= MIN_CLUSTERS else None, p, None, a.n, a.n_clusters, "jackknife-t")


def set_minimum_detectable(found: Paired, *, power: float = 0.8) -> float | None:
    """The smallest true difference of set numbers that the test finds with this power (normal approximation)."""
    if found.ci is None:
        return None
    usual = float(stdtrit(found.ci.resamples - 1, (1 + found.ci.level) / 2))
    error = (found.ci.hi - found.ci.lo) / (2 * usual)
    return float(ndtri((1 + found.ci.level) / 2) + ndtri(power)) * error


# ------------------------------------------------------------------------------------------------------------ aggregates


def summary(
    values: Sequence[float] | Floats, statuses: Sequence[str], clusters: Sequence[str], *, better: Better,
    range: Range, binary: bool = False, seed: int = 0, inference: Inference = STANDARD,
) -> dict[str, Any]:
    """The aggregate of one score as result.json has it: n, statuses, mean, mean_worst_bound, median, sd, ci.

    What cannot be computed is absent. mean_worst_bound counts every item without a number as the worst value that the
    metric's range allows, so that leaving hard items undefined cannot help.
    """
    numbers = np.asarray(values, float)
    good = numbers[[s == "ok" for s in statuses]]
    found: dict[str, Any] = {"n": len(statuses), "statuses": dict(sorted(Counter(statuses).items()))}
    if not len(good):
        return found
    found |= {"mean": float(good.mean()), "median": float(np.median(good))}
    worst = range[0] if better == "higher" else range[1]
    if worst is not None:
        found["mean_worst_bound"] = float((good.sum() + worst * (len(numbers) - len(good))) / len(numbers))
    if len(good) > 1:
        found["sd"] = float(good.std(ddof=1))
    kept = np.where([s == "ok" for s in statuses], numbers, np.nan)
    ci = interval(kept, clusters, range=range, binary=binary, level=inference.level, resamples=inference.resamples, seed=seed)
    if ci is not None:
        found["ci"] = asdict(ci)
    return found


def set_summary(
    reduce: Reduce, statistics: Tensor, statuses: Sequence[str], clusters: Sequence[str], *, range: Range,
    level: float = LEVEL, interval: bool = True,
) -> dict[str, Any]:
    """The aggregate of a metric of the set: n, statuses, the set's number as `mean`, and its interval.

    Jackknife as in `set_paired`, clipped to the range; none where a cluster decides whether there is a number at all.
    (Percentiles of a bootstrap lie too high for a number that is a best over thresholds: 82 % coverage of MaxBoxAccV2
    with 60 clusters, where this has 93 %.) What cannot be computed is absent.
    """
    good = np.array([s == "ok" for s in statuses])
    found: dict[str, Any] = {"n": len(statuses), "statuses": dict(sorted(Counter(statuses).items()))}
    left = _left_out(reduce, Kept(statistics, good), good, clusters, without=interval)
    if not np.isfinite(left.number):
        return found
    found["mean"] = left.number
    if interval and left.n_clusters >= MIN_CLUSTERS and np.isfinite(left.without).all():
        error, usual = _jackknife(left.without, level)
        floor, ceiling = range
        lo, hi = left.number - usual * error, left.number + usual * error
        found["ci"] = asdict(Interval(level, "jackknife-t", lo if floor is None else max(lo, floor),
                                      hi if ceiling is None else min(hi, ceiling), len(left.without), 0, left.n_clusters))
    return found


def _jackknife(without: Floats, level: float) -> tuple[float, float]:
    """Standard error from the numbers without each of G groups, and Student's quantile with G - 1 degrees of freedom."""
    groups = len(without)
    error = sqrt((groups - 1) / groups * float(((without - without.mean()) ** 2).sum()))
    return error, float(stdtrit(groups - 1, (1 + level) / 2))
