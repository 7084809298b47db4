"""How alike two maps are: rank correlation with average ranks, or structural similarity."""

import numpy as np

from oracles import maps, random_logit, subsets


def similarity(kind: str, a: np.ndarray, b: np.ndarray) -> float:
    """Of two maps [H, W]; 0 for the rank correlation with a map b of one value, no number where a has one value."""
    if kind == "ssim":
        one, two = (maps.minmax(m.astype(np.float32)).astype(np.float64) for m in (a, b))
        return random_logit.ssim(one, two, 11, 1.5)
    if kind == "spearman-abs":
        a, b = abs(a), abs(b)
    if b.min() == b.max():
        return 0.0
    return subsets.pearson(ranks(a), ranks(b))


def of_defined(kind: str, a: np.ndarray, b: np.ndarray) -> float:
    """The same, where a map a that does not vary divides by zero under every kind."""
    varies = abs(a) if kind == "spearman-abs" else a
    if varies.min() == varies.max():
        raise ZeroDivisionError
    return similarity(kind, a, b)


def ranks(values: np.ndarray) -> list[float]:
    """Rank 1 for the lowest; equal values share the mean of their places."""
    flat = [float(v) for v in values.ravel()]
    rising = sorted(range(len(flat)), key=lambda i: flat[i])
    found = [0.0] * len(flat)
    start = 0
    while start < len(rising):
        stop = start
        while stop + 1 < len(rising) and flat[rising[stop + 1]] == flat[rising[start]]:
            stop += 1
        for place in range(start, stop + 1):
            found[rising[place]] = (start + stop) / 2 + 1
        start = stop + 1
    return found
