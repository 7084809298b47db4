"""Performance information curves (Kapishnikov et al. 2019), with an information that NumPy can count."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from oracles import UndefinedError, delaunay, fills, maps, philox, subsets

THRESHOLDS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.13, 0.21, 0.34, 0.5, 0.75)
Performance = Callable[[np.ndarray], float]
Rule = Callable[[float, float], float]


def area(
    image: np.ndarray, attribution: np.ndarray, mean: Sequence[float], std: Sequence[float], seed: int, item: str, *,
    rows: str, information: str, fill: str, performance: Performance, least: float, published: Rule,
) -> float:
    """The area by one of the two curves. `performance` is read on rows, `least` is what it has to be on the image, and
    `published(row, image)` is what the curve of version 1 makes of it."""
    if information != "residuals" or rows not in ("interpolated", "filled"):
        raise ValueError(f"no oracle of rows {rows!r} with information {information!r}")
    if rows == "filled":
        return over_fill(image, attribution, mean, std, seed, item, fill, performance, published)
    values = maps.bilinear(attribution, image.shape[1:]).astype(np.float64)
    if values.min() == values.max():
        raise UndefinedError("constant-map")
    H, W = values.shape
    own = quantised(fills.to_raw(image, mean, std))
    random = np.zeros(H * W, dtype=bool)
    random[subsets.subset(philox.key(seed, item, "pic-aic@2", "shown"), 0, H * W, H * W // 100)] = True
    random = random.reshape(H, W)

    def row(shown: np.ndarray) -> tuple[float, float]:
        levels = delaunay.interpolated(own, shown)
        there = fills.to_input(levels / 255, mean, std)
        return entropy(levels), performance(np.where(levels == own, image, there))

    bits, whole = entropy(own), performance(image)
    bits_0, blurred = row(random)
    if whole < least:
        raise UndefinedError("unsure")
    if bits <= bits_0:
        raise UndefinedError("zero-difference")
    if whole <= blurred:
        raise UndefinedError("no-rise")
    points, best = [], 0.0
    for threshold in THRESHOLDS:
        b, y = row((values >= np.quantile(values, 1 - threshold)) | random)
        best = max(best, min(1.0, max(0.0, (y - blurred) / (whole - blurred))))
        points.append((min(1.0, max(0.0, (b - bits_0) / (bits - bits_0))), best))
    return on_grid([*points, (0.0, 0.0), (1.0, 1.0)])


def on_grid(points: list[tuple[float, float]]) -> float:
    """Trapezoid area of the polygon read at 0, 0.001, ..., 0.999, and 1 at 1; of points at one place the last counts."""
    points = sorted(points, key=lambda point: point[0])
    curve = []
    for step in range(1000):
        c = step * (1 / 1000)
        n = max(n for n, (x, _) in enumerate(points) if x <= c)
        (x0, y0), (x1, y1) = points[n], points[n + 1]
        curve.append(y0 + (y1 - y0) / (x1 - x0) * (c - x0))
    curve.append(1.0)
    return sum((a + b) / 2 / 1000 for a, b in pairwise(curve))


def over_fill(
    image: np.ndarray, attribution: np.ndarray, mean: Sequence[float], std: Sequence[float], seed: int, item: str, fill: str,
    performance: Performance, published: Rule,
) -> float:
    """Area under the running maximum of the performance over the information of the shown image."""
    values = maps.bilinear(attribution, image.shape[1:])
    if values.min() == values.max():
        raise UndefinedError("constant-map")
    ranked, P = maps.order(values), values.size
    made = fills.fill(fill, image, mean, std, seed, item)
    rows = [fills.removed(image, ranked[math.floor(round(1000 * share) * P / 1000) :], fill, mean, std, seed, item, made)
            for share in (0, *THRESHOLDS, 1)]
    bits = [entropy(quantised(fills.to_raw(row, mean, std))) for row in rows]
    if bits[-1] <= bits[0]:
        raise UndefinedError("zero-difference")
    points = sorted(((min(1.0, max(0.0, (b - bits[0]) / (bits[-1] - bits[0]))), n) for n, b in enumerate(bits)))
    whole = performance(image)
    total, best, before = 0.0, 0.0, 0.0
    for place, (x, n) in enumerate(points):
        reached = max(best, published(performance(rows[n]), whole))
        if place:
            total += (best + reached) / 2 * (x - before)
        best, before = reached, x
    return total


def quantised(raw: np.ndarray) -> np.ndarray:
    """8-bit values of raw pixels."""
    return np.floor(np.clip(raw, 0, 1) * 255 + 0.5).astype(np.int64)


def entropy(levels: np.ndarray) -> float:
    """Entropy in bits of what is left of each 8-bit value when its left neighbour is known."""
    C, H, W = levels.shape
    residuals: Counter[int] = Counter()
    for channel in levels.tolist():
        for y in range(H):
            for x in range(W):
                known = channel[y][x - 1] if x else channel[y - 1][0] if y else 0
                residuals[(channel[y][x] - known) % 256] += 1
    n = C * H * W
    return -sum(count / n * math.log2(count / n) for count in residuals.values())


TOLERANCE = 1e-3  # a pixel of the fill that float32 rounds to the other of two 8-bit values
