"""Intervals of a mean by resampling clusters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit  # not scipy.stats, which takes a second to import

from vxp.core import VxpError
from vxp.stats.inference import MIN_CLUSTERS, ROUNDING, STANDARD, Floats, Inference, Interval, Range

DRAWS = 1 << 17
"""Clusters drawn per block of resamples: what stays in cache, whatever the number of clusters."""
FLAT = 1e-10
"""Relative size below which the variance of a resample is what rounding left; its t would be above 1e5."""


def interval(
    values: Sequence[float] | Floats, clusters: Sequence[str], *, range: Range = (None, None), binary: bool = False,
    inference: Inference = STANDARD, seed: int = 0,
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
    level, resamples = inference.level, inference.resamples
    sums, counts, n_clusters = by_cluster(values, clusters)
    if n_clusters < MIN_CLUSTERS:
        return None
    numbers = np.asarray(values, float)
    numbers = numbers[np.isfinite(numbers)]
    if binary and n_clusters == len(numbers):
        lo, hi = _wilson(float(numbers.mean()), len(numbers), level)
        return Interval(level, "wilson", lo, hi, 0, seed, n_clusters)
    mean, error = ratio(sums, counts)
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


def by_cluster(values: Sequence[float] | Floats, clusters: Sequence[str]) -> tuple[Floats, Floats, int]:
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


def ratio(sums: Floats, counts: Floats) -> tuple[float, float]:
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
