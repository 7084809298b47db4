"""Random logit: how alike the maps of two classes are."""

import torch
from torch import Tensor

from vxp.core import Case, Explain, Plan, Request, Stream, Unchanged, VxpError, metric, outcome
from vxp.core.perturb import minmax

C1, C2 = 0.01**2, 0.03**2
"""What keeps the quotients of SSIM finite, for maps in [0, 1] (Wang et al. 2004)."""


@metric("random-logit", version=2, family="sanity", better="lower", range=(-1, 1), re_explains=1,
        undefined=("constant-map", "single-class"), source="Sixt, Granz and Landgraf 2020, arXiv:1912.09818",
        caveats=("Classes that share evidence should share maps, so 0 is not the right answer everywhere.",),
        limits={"window": (3, None), "sigma": (0.1, None), "weights": ("gaussian", "uniform"), "span": (0.1, None),
                "clip": (0, 49), "flip": ("none", "either")})
def random_logit(
    case: Case, *, window: int = 11, sigma: float = 1.5, weights: str = "gaussian", span: float = 1.0, clip: float = 0.0,
    flip: str = "none",
) -> Plan:
    """SSIM between the map of the target and the map of another class of the same input (Sixt et al. 2020).

    The other class is (t + 1 + floor(u*(K - 1))) mod K with u keyed by the item. Two-dimensional SSIM of the evaluation
    maps, each min-maxed per map, Gaussian window, valid positions only, K1 = .01, K2 = .03, L = 1. Range [-1, 1], lower
    is better: a map that does not depend on the class scores 1. Undefined for a constant map and for one class.

    `weights` uniform takes a flat window and the covariances of a sample, `span` is L, `clip` cuts that many percent of the
    positions at either end before the map is scaled (undefined where nothing is left between), `flip` either takes the
    greater of the similarities to the other map and to its negative. The authors' code is window 5, weights uniform,
    span 2, clip 1 (.5 in their last notebook), flip either.
    """
    if min(case.batch.space) < window:
        raise VxpError(f"random-logit: the SSIM window of {window} does not fit in maps of {case.batch.space}; "
                       f"set window to at most {min(case.batch.space)}")
    # one class has nothing beside it: log(1 - p) is minus infinity
    single = (yield case.unchanged("log-complement"))[:, 0] == float("-inf")
    # the stream keeps the name of version 1, so that the same class is drawn
    other = (yield Request((Unchanged(),), Explain(other=Stream("random-logit@1", "class")), "map"))[:, 0]
    own, flat = scaled(case.map, clip)
    pair = scaled(other, clip)[0]

    def alike(a: Tensor, b: Tensor) -> Tensor:
        return ssim(a, b, window, sigma, weights=weights, span=span)

    # the authors' scaling turns maps upside down, which counts where brightness does
    score = alike(own, pair) if flip == "none" else torch.maximum(alike(1 - own, 1 - pair), alike(1 - own, pair))
    return outcome(score, {"constant-map": case.constant | flat, "single-class": single})


def scaled(maps: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """The maps [B, H, W] between their percentiles clip and 100 - clip as 0 to 1, and whether these are equal [B] (zeros)."""
    if clip == 0:
        return minmax(maps), torch.zeros(len(maps), dtype=torch.bool, device=maps.device)
    exact = maps.double()
    ends = exact.new_tensor([clip / 100, (100 - clip) / 100])
    low, high = torch.stack([torch.quantile(m.flatten(), ends) for m in exact], dim=1)[..., None, None]
    flat = low == high
    between = ((exact - low) / torch.where(flat, torch.ones_like(low), high - low)).clamp(0, 1)
    return torch.where(flat, torch.zeros_like(between), between), flat[:, 0, 0]


def ssim(a: Tensor, b: Tensor, window: int, sigma: float, *, weights: str = "gaussian", span: float = 1.0) -> Tensor:
    """Mean structural similarity [B] of maps [B, H, W] in [0, 1] (Wang et al. 2004, eq. 13), in float64."""
    at = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    line = torch.exp(-(at**2) / (2 * sigma**2)) if weights == "gaussian" else torch.ones_like(at)
    shares = (line / line.sum()).tolist()
    sample = 1.0 if weights == "gaussian" else window**2 / (window**2 - 1)
    c1, c2 = C1 * span**2, C2 * span**2

    def mean(x: Tensor) -> Tensor:
        for dim in (0, 1):
            size = x.shape[dim] - window + 1
            total = x.narrow(dim, 0, size) * shares[0]
            for k, share in enumerate(shares[1:], 1):
                total.add_(x.narrow(dim, k, size), alpha=share)
            x = total
        return x

    def similarity(x: Tensor, y: Tensor) -> Tensor:
        mx, my = mean(x), mean(y)
        product, squares = mx * my, mx * mx + my * my
        covariance, variances = sample * (mean(x * y) - product), sample * (mean(x * x + y * y) - squares)
        return ((2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))).mean()

    # sums of shifted maps, one map at a time, stay in a core's cache: eight times as fast as float64 convolutions
    return torch.stack([similarity(x, y) for x, y in zip(a.double(), b.double(), strict=True)])
