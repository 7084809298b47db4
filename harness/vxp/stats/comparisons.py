"""Paired tests of two systems, and ranks that admit ties."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from math import log

import numpy as np
from scipy.special import expit, ndtri  # not scipy.stats, which takes a second to import

from vxp.core import Better, VxpError
from vxp.stats.inference import LEVEL, ROUNDING, STANDARD, Floats, Inference, Pair, Paired
from vxp.stats.intervals import by_cluster, interval, ratio

BLOCK = 2_000
"""Sign flips per block at most."""
DRAWS = 1 << 20
"""Signs per block at most, 8 MiB of them: memory does not grow with the clusters."""
KEPT_UNIFORMS = 1 << 22
"""Draws that are kept for the next test, 32 MiB of them."""
EQUAL = 1e-6
"""Relative difference of scores below which two machines, or two batches, may have computed the same."""


def paired(
    a: Sequence[float] | Floats, b: Sequence[float] | Floats, clusters: Sequence[str], *, inference: Inference = STANDARD,
    seed: int = 0, intervals: bool = True,
) -> Paired:
    """Paired difference a - b over the items where both are numbers.

    Two-sided sign-flip permutation of the clusters' summed differences: all 2^clusters choices of signs where they are at
    most `resamples`, otherwise their share estimated from so many drawn ones. p = 1 where nothing differs or nothing is
    paired. intervals=False leaves the interval out, which costs more than the test.
    """
    apart = _difference(a, b)
    sums, counts, g = by_cluster(apart, clusters)
    n = int(counts.sum())
    if n == 0:
        return Paired(float("nan"), None, 1.0, None, 0, 0, "none")
    if g <= np.log2(inference.resamples):
        signs = np.array(list(product((1.0, -1.0), repeat=g)))
        p, method = float((np.abs(signs @ sums) >= _at_least(sums)).mean()), "sign-flip-exact"
    else:
        p, method = _flipped(sums, inference.resamples, seed), "sign-flip"
    means = sums / counts
    sd = float(means.std(ddof=1)) if g > 1 else 0.0
    # what rounding leaves of equal differences is no spread, and would make any effect enormous
    effect = float(means.mean()) / sd if sd > ROUNDING * float(np.abs(means).max()) else None
    ci = interval(apart, clusters, inference=inference, seed=seed) if intervals else None
    return Paired(float(sums.sum()) / n, ci, p, effect, n, g, method)


def sign_flip_bounds(a: Sequence[float] | Floats, b: Sequence[float] | Floats, clusters: Sequence[str]) -> tuple[float, float]:
    """Bounds below and above the p of `paired`, which need no draws: where one of them decides, none are made.

    Of a sum of sizes with fair signs and variance v, the share at t or more in absolute value is at most 2 exp(-t^2 / 2v)
    (Hoeffding 1963), and at least (1 - t^2 / v)^2 / 3 where t^2 < v (Paley and Zygmund 1932, with a fourth moment of at most
    3 v^2).
    """
    sums, _, g = by_cluster(_difference(a, b), clusters)
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
    block = max(1, min(BLOCK, DRAWS // g))
    for start in range(0, resamples, block):
        yield generator.random((min(block, resamples - start), g))


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
    """Whether several systems have equal numbers [N, ...], as many each, on every item, to six digits, or none (8.4.3); those
    without a number anywhere are left out, and two are the least that can tie."""
    some = [numbers for numbers in systems if np.isfinite(numbers).any()]
    return len(some) > 1 and all(_alike(some[0], other) for other in some[1:])


def _alike(a: Floats, b: Floats) -> bool:
    if a.shape != b.shape:  # of explanations with different numbers of prototypes
        return False
    close = np.abs(a - b) <= EQUAL * np.maximum(1, np.abs(a))
    return bool((close | (np.isnan(a) & np.isnan(b))).all())


def minimum_detectable(
    a: Sequence[float] | Floats, b: Sequence[float] | Floats, clusters: Sequence[str], *, level: float = LEVEL,
    power: float = 0.8,
) -> float | None:
    """The smallest true difference that a two-sided test at this level finds with this power (normal approximation)."""
    sums, counts, g = by_cluster(_difference(a, b), clusters)
    if g < 2:
        return None
    return float(ndtri((1 + level) / 2) + ndtri(power)) * ratio(sums, counts)[1]


def ranking(
    means: Mapping[str, float], pairs: Sequence[Pair], better: Better
) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
    """An interval of ranks for every system, and who is not separated from the one with the best mean (7.4.4). Nobody
    is ranked where neither direction is better."""
    if better == "neither":
        return {}, ()
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
