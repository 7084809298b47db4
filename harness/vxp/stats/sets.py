"""Comparisons of numbers of a set, by leaving clusters out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit  # not scipy.stats, which takes a second to import
from torch import Tensor

from vxp.core import Reduce
from vxp.stats.inference import LEVEL, MIN_CLUSTERS, ROUNDING, Floats, Interval, Paired

SET_GROUPS = 2_000
"""At most so many groups of clusters are left out in turn for a metric of the set: each costs a whole reduction."""
SET_BLOCK = 250
"""Reductions made together, at most."""
SET_COUNTS = 1 << 20
"""Counts of items held for them, at most."""


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
    return _set_difference(left_out(reduce, a, shared, clusters), left_out(reduce, b, shared, clusters), level)


@dataclass(frozen=True, eq=False)
class _LeftOut:
    """The set's number, and without each group of clusters in turn."""

    number: float
    without: Floats
    n: int
    n_clusters: int


def left_out(
    reduce: Reduce, kept: Kept, shared: NDArray[np.bool_], clusters: Sequence[str], *, without: bool = True
) -> _LeftOut:
    good = np.flatnonzero(shared)
    names, where = np.unique(np.asarray(clusters, dtype=object).astype(str)[good], return_inverse=True)
    if not len(good):
        return _LeftOut(float("nan"), np.zeros(0), 0, 0)
    statistics, of = kept.statistics[good], torch.from_numpy(where.astype(np.int64))
    number = float(reduce(statistics, of, torch.ones(1, len(good), dtype=torch.float64))[0])
    groups = min(len(names), SET_GROUPS) if without else 0
    block = max(1, min(SET_BLOCK, SET_COUNTS // len(good)))
    found = [reduce(statistics, of, (of % groups != left[:, None]).double()).numpy()
             for left in torch.arange(groups).split(block) if len(left)]
    return _LeftOut(number, np.concatenate([np.zeros(0), *found]), len(good), len(names))


def _set_difference(a: _LeftOut, b: _LeftOut, level: float) -> Paired:
    delta, without = a.number - b.number, a.without - b.without
    if not np.isfinite(delta):
        return Paired(float("nan"), None, 1.0, None, a.n, a.n_clusters, "none")
    groups = len(without)
    if groups < 2 or not np.isfinite(without).all():
        return Paired(delta, None, 1.0, None, a.n, a.n_clusters, "none")
    error, usual = jackknife(without, level)
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


def jackknife(without: Floats, level: float) -> tuple[float, float]:
    """Standard error from the numbers without each of G groups, and Student's quantile with G - 1 degrees of freedom."""
    groups = len(without)
    error = sqrt((groups - 1) / groups * float(((without - without.mean()) ** 2).sum()))
    return error, float(stdtrit(groups - 1, (1 + level) / 2))
