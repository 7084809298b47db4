"""How alike two maps of one item are: what mprt, smooth-mprt and label-randomisation compare with."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vxp.core import VxpError
from vxp.core.perturb import minmax
from vxp.metrics._correlation import average_ranks
from vxp.metrics._subsets import pearson
from vxp.metrics.random_logit import ssim

SIMILARITIES = ("spearman", "spearman-abs", "ssim")
"""Rank correlation of the values, of the absolute values, and two-dimensional structural similarity."""

WINDOW, SIGMA = 11, 1.5
"""Of the Gaussian window of SSIM, in positions of the input grid (Wang et al. 2004)."""


def check_fits(similarity: str, space: Sequence[int], name: str) -> None:
    """VxpError where the window of SSIM does not fit in the maps."""
    if similarity == "ssim" and min(space) < WINDOW:
        raise VxpError(f"{name}: the SSIM window of {WINDOW} does not fit in maps of {tuple(space)}; set similarity to "
                       "spearman or spearman-abs")


def similarities(similarity: str, own: Tensor, others: Tensor) -> Tensor:
    """Similarity [B, S] float64 in [-1, 1] of the maps `own` [B, H, W] to S other maps of the same items [B, S, H, W].

    NaN where the other map has a value that is not finite. The rank correlation with a map of one value everywhere is
    0: that map says nothing, so it has nothing of the first. SSIM min-maxes each map by itself and takes such a map as
    zeros, as its formula does.
    """
    finite = torch.isfinite(others).flatten(2).all(2)
    seen, compare = SIMILAR[similarity]
    first = seen(own)
    alike = torch.stack([compare(first, seen(other)) for other in others.nan_to_num().unbind(1)], dim=1)
    return alike.masked_fill(~finite, float("nan"))


def still(similarity: str, maps: Tensor) -> Tensor:
    """bool [B]: maps [B, H, W] of which nothing varies in what the similarity looks at."""
    flat = (maps.abs() if similarity == "spearman-abs" else maps).flatten(1)
    return flat.amax(1) == flat.amin(1)


def _ranks(maps: Tensor) -> Tensor:
    return average_ranks(maps.flatten(1))


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    value, constant = pearson(a, b)
    return value.masked_fill(constant, 0)


def _ssim(a: Tensor, b: Tensor) -> Tensor:
    return ssim(a, b, WINDOW, SIGMA)


SIMILAR: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "spearman": (_ranks, _correlation), "spearman-abs": (lambda maps: _ranks(maps.abs()), _correlation),
    "ssim": (minmax, _ssim),
}
"""What of a map is looked at, and how two of these are compared: the first is made once for all comparisons."""
