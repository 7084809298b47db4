"""Random logit (Sixt, Granz and Landgraf 2020), with structural similarity (Wang et al. 2004)."""

import math
from collections.abc import Callable

import numpy as np

from oracles import UndefinedError, maps, philox
from oracles.curves import Model


def random_logit(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, seed: int, item: str,
    explain: Callable[[np.ndarray, int], np.ndarray], *, window: int, sigma: float, weights: str, span: float, clip: float,
    flip: str,
) -> float:
    """SSIM of the target's map and the map of another class, each scaled by itself."""
    space = image.shape[1:]
    other = other_class(target, len(model(image)), seed, item)
    a = scaled(maps.bilinear(attribution, space), clip)
    if clip and not a.any():
        raise UndefinedError("constant-map")
    b = scaled(maps.bilinear(explain(image, other), space), clip)
    if flip == "none":
        return ssim(a, b, window, sigma, weights, span)
    return max(ssim(1 - a, 1 - b, window, sigma, weights, span), ssim(1 - a, b, window, sigma, weights, span))


def other_class(target: int, classes: int, seed: int, item: str) -> int:
    """Any class but the target, each as likely."""
    u = float(philox.uniforms(philox.key(seed, item, "random-logit@1", "class"), 0, 1)[0, 0])
    return (target + 1 + math.floor(u * (classes - 1))) % classes


def scaled(values: np.ndarray, clip: float) -> np.ndarray:
    """From the percentile `clip` to its counterpart at the other end, as 0 to 1; zeros where both are one value."""
    if clip == 0:
        return maps.minmax(values).astype(np.float64)
    values = values.astype(np.float64)
    low, high = percentile(values, clip), percentile(values, 100 - clip)
    if low == high:
        return np.zeros(values.shape)
    return np.asarray(np.minimum(np.maximum((values - low) / (high - low), 0), 1))


def percentile(values: np.ndarray, percent: float) -> float:
    """Linear between the two values next to the place in rising order."""
    ordered = sorted(float(v) for v in values.ravel())
    place = percent / 100 * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def ssim(
    a: np.ndarray, b: np.ndarray, window: int, sigma: float, weights: str = "gaussian", span: float = 1.0
) -> float:
    """Mean over all windows that lie inside, weighted in two dimensions; K1 = .01, K2 = .03, L = span. Equal weights come
    with the variances of a sample."""
    middle = (window - 1) / 2
    share = np.array([[math.exp(-((i - middle) ** 2 + (j - middle) ** 2) / (2 * sigma**2)) if weights == "gaussian" else 1.0
                       for j in range(window)] for i in range(window)])
    share /= share.sum()
    n = window * window
    sample = 1.0 if weights == "gaussian" else n / (n - 1)
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    found = []
    for y in range(a.shape[0] - window + 1):
        for x in range(a.shape[1] - window + 1):
            p, q = a[y : y + window, x : x + window], b[y : y + window, x : x + window]
            mp, mq = (share * p).sum(), (share * q).sum()
            vp, vq = sample * (share * (p - mp) ** 2).sum(), sample * (share * (q - mq) ** 2).sum()
            both = sample * (share * (p - mp) * (q - mq)).sum()
            found.append((2 * mp * mq + c1) * (2 * both + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(sum(found) / len(found))


VARIANTS = [
    {},
    {"window": 7, "sigma": 2.0},
    {"window": 5, "weights": "uniform"},
    {"clip": 10.0},
    {"flip": "either"},
    {"window": 5, "weights": "uniform", "span": 2.0, "clip": 1.0, "flip": "either"},
]
