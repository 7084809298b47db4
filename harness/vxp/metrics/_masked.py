"""The masked image that average drop, increase in confidence and average gain share, so that its row runs once."""

import math
from collections.abc import Generator

import torch
from torch import Tensor

from vxp.core import Blended, Case, Limits, Request, Unchanged
from vxp.core.perturb import IMAGES, minmax

SATURATED = 1e-12
"""Below this a denominator says nothing: the score is undefined."""


def masked(case: Case, *, keep: int, mask: str, fill: str, ties: str) -> tuple[Request, Request]:
    """Requests for log p and log(1 - p) of the item (variant 0) and of its masked version (variant 1)."""
    name = case.mask(("kept", keep, mask, ties), lambda: kept(case, keep=keep, mask=mask, ties=ties))
    edits = (Unchanged(), Blended(name, fill))
    return Request(edits, readout="log-probability"), Request(edits, readout="log-complement")


def probabilities(
    case: Case, *, keep: int, mask: str, fill: str, ties: str
) -> Generator[Request, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Y, 1 - Y and Y' [B] float64: the target's probability on the item, its complement, and on the masked item; Y' is NaN
    where the map has no mask."""
    direct, complement = masked(case, keep=keep, mask=mask, fill=fill, ties=ties)
    p = (yield direct).exp()
    q = (yield complement).exp()
    # decided by the mask: a model may make a number of an input that is not one
    maskless = minmax(case.clean).isnan().flatten(1).any(1).cpu()
    return p[:, 0], q[:, 0], p[:, 1].masked_fill(maskless, float("nan"))


def kept(case: Case, *, keep: int, mask: str, ties: str) -> Tensor:
    """The mask [B, H, W]: min-max per map on the native grid, resampled, the lowest positions zeroed; NaN where the map's
    values lie too far apart to be min-maxed."""
    soft = case.on_input_grid(minmax(case.clean))
    chosen = torch.stack([TIES[ties](s.flatten(), keep) for s in soft]).view_as(soft)
    left = torch.where(chosen, soft if mask == "soft" else torch.ones_like(soft), torch.zeros_like(soft))
    return left.masked_fill(soft.isnan().flatten(1).any(1).view(-1, 1, 1), float("nan"))


def by_index(flat: Tensor, keep: int) -> Tensor:
    """bool [P]: exactly P - floor(P*(100-keep)/100) highest positions, ties by row-major index (clause [order])."""
    P = flat.numel()
    chosen = torch.zeros(P, dtype=torch.bool, device=flat.device)
    chosen[flat.argsort(descending=True, stable=True)[: P - P * (100 - keep) // 100]] = True
    return chosen


def by_tame(flat: Tensor, keep: int) -> Tensor:
    """bool [P]: TAME's and L-CAM's rule: zero below the n-th smallest value, then the surplus among ties in raster order."""
    P, removed = flat.numel(), (100 - keep) / 100
    n = int(P * removed)
    if n < 1:
        return torch.ones(P, dtype=torch.bool, device=flat.device)
    threshold = flat.kthvalue(n).values
    chosen = flat >= threshold
    # not keep/100: the scripts subtract the share removed, and 1 - 0.85 is 0.15000000000000002, one position more at 320x320
    surplus = int((chosen & (flat != 0)).sum()) - math.ceil((1 - removed) * P)
    if surplus > 0:
        chosen[torch.nonzero(flat == threshold).flatten()[:surplus]] = False
    return chosen


def by_t_tame(flat: Tensor, keep: int) -> Tensor:
    """bool [P]: T-TAME's rule: values below the interpolated quantile are zeroed."""
    exact = flat.double()
    return exact >= torch.quantile(exact, (100 - keep) / 100) if keep < 100 else torch.ones_like(flat, dtype=torch.bool)


def by_p_tame(flat: Tensor, keep: int) -> Tensor:
    """bool [P]: P-TAME's rule: values strictly above the n-th smallest are kept; its script names the share kept."""
    n = int(flat.numel() * (1 - keep / 100))
    return flat > flat.kthvalue(n).values if n >= 1 else torch.ones_like(flat, dtype=torch.bool)


TIES = {"index": by_index, "tame": by_tame, "t-tame": by_t_tame, "p-tame": by_p_tame}

LIMITS: Limits = {"keep": (1, 100), "mask": ("soft", "binary"), "fill": tuple(IMAGES), "ties": tuple(TIES)}
"""What the parameters of the three metrics may be; a soft mask has nothing to impute from, so there is no `nli`."""
