"""Random logit (Sixt, Granz and Landgraf 2020), with structural similarity (Wang et al. 2004)."""

import math
from collections.abc import Callable

import numpy as np

from oracles import maps, philox
from oracles.curves import Model


def random_logit(
    model: Model, image: np.ndarray, attribution: np.ndarray, target: int, seed: int, item: str,
    explain: Callable[[np.ndarray, int], np.ndarray], *, window: int, sigma: float,
) -> float:
    """SSIM of the target's map and the map of another class, each min-maxed."""
    space = image.shape[1:]
    other = other_class(target, len(model(image)), seed, item)
    a = maps.minmax(maps.bilinear(attribution, space))
    b = maps.minmax(maps.bilinear(explain(image, other), space))
    return ssim(a.astype(np.float64), b.astype(np.float64), window, sigma)


def other_class(target: int, classes: int, seed: int, item: str) -> int:
    """Any class but the target, each as likely."""
    u = float(philox.uniforms(philox.key(seed, item, "random-logit@1", "class"), 0, 1)[0, 0])
    return (target + 1 + math.floor(u * (classes - 1))) % classes


def ssim(a: np.ndarray, b: np.ndarray, window: int, sigma: float) -> float:
    """Mean over all windows that lie inside; Gaussian weights in two dimensions; K1 = .01, K2 = .03, L = 1."""
    middle = (window - 1) / 2
    weights = np.array([[math.exp(-((i - middle) ** 2 + (j - middle) ** 2) / (2 * sigma**2)) for j in range(window)]
                        for i in range(window)])
    weights /= weights.sum()
    c1, c2 = 0.01**2, 0.03**2
    found = []
    for y in range(a.shape[0] - window + 1):
        for x in range(a.shape[1] - window + 1):
            p, q = a[y : y + window, x : x + window], b[y : y + window, x : x + window]
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
            both = (weights * (p - mp) * (q - mq)).sum()
            found.append((2 * mp * mq + c1) * (2 * both + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(sum(found) / len(found))


VARIANTS = [{}, {"window": 7, "sigma": 2.0}]
