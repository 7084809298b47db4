"""The smooth mask of a given area that keeps the prediction best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp.core import Batch, VxpError, explainer
from vxp.kinds import MAPS
from vxp.models import evaluating

from vxp_explainers._common import check_at_least

TEMPERATURE = 0.05
"""Of the smooth maximum."""
RATE = 0.05
WEIGHTS = (20.0, 600.0)
"""Of the constraint on the area against the logit: at the first step and at the last."""


def _passes(*, steps: int, area: float, grid: int, smooth: float, fill: str) -> int:
    return 2 * steps


@explainer("extremal-perturbation", signed=False, resample="none", needs=("gradients",), passes=_passes,
           family="perturbation", kinds=MAPS,
           source="Fong, Patrick and Vedaldi 2019, eq. 2 to 6; of clips Li et al. 2021 (STEP)")
def extremal_perturbation(
    model: nn.Module, batch: Batch, *, steps: int = 300, area: float = 0.1, grid: int = 32, smooth: float = 3.0,
    fill: str = "mean",
) -> Tensor:
    """The mask with the highest logit of the target among smooth masks that keep a given share of the image or clip.

    The mask is that of grid x grid cells in [0, 1], each raised to the smooth maximum of its neighbours under a Gaussian
    of `smooth` cells (so that whatever is kept is a blob of that size), upsampled bilinearly; where it is 0 the input is
    replaced by the fill. Minimised is weight*mean((mask - nearest)^2) - logit, where `nearest` is 1 on the mask's largest
    `area` of the positions and 0 on the others, with a weight that grows geometrically, by `steps` steps of Adam from a
    mask of 1/2. No number is drawn. Each item is optimised alone, so that its map does not depend on neighbours. The mask of a
    clip has such cells in every frame, smooth in space, and the area is a share of the volume, which the frames divide among
    themselves. Returns the mask [B, *space] float32, in [0, 1]. Raises VxpError for an unknown fill, an area outside (0, 1),
    steps or grid below 1 and smooth below 0.1.

    Departs from the paper: one fill in place of a blur that grows where the mask falls; Adam and a steeper weight, since
    budgets allow fewer than the paper's 800 steps; positions of equal value share what `nearest` gives them, so that no
    index decides which of them is kept; no jitter. Of clips without the later term that gathers the mask in ellipsoids.
    """
    check_at_least("extremal-perturbation", 1, steps=steps, grid=grid)
    check_at_least("extremal-perturbation", 0.1, smooth=smooth)
    if not 0 < area < 1:
        raise VxpError(f"explainer 'extremal-perturbation': area is {area!r}, expected a share in (0, 1)")
    fills = batch.fill_image(fill)
    with evaluating(model), torch.enable_grad():
        cells = min(grid, *batch.space[-2:])
        start = torch.full((*batch.space[:-2], cells, cells), 0.5, device=batch.inputs.device)
        maps = [_mask(_kept(model, batch, i, fills[i].detach()), start, batch.space, steps, area, smooth)
                for i in range(len(batch))]
    return torch.stack(maps)


def _kept(model: nn.Module, batch: Batch, i: int, fill: Tensor) -> Callable[[Tensor], Tensor]:
    """The target's logit of item i as a function of the mask [*space] of what is kept of it."""
    inputs, target = batch.inputs[i].detach(), batch.targets[i]

    def logit(mask: Tensor) -> Tensor:
        return model((fill + mask * (inputs - fill))[None])[0, target].float()  # type: ignore[no-any-return]

    return logit


def _mask(
    logit: Callable[[Tensor], Tensor], start: Tensor, size: Sequence[int], steps: int, area: float, smooth: float
) -> Tensor:
    """float32 [*space]: the optimised mask of one item of this size, from the cells that it starts with."""
    cells = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([cells], lr=RATE)
    for n in range(steps):
        mask = _upsampled(_raised(cells, smooth), size)
        weight = WEIGHTS[0] * (WEIGHTS[1] / WEIGHTS[0]) ** (n / max(1, steps - 1))
        loss = weight * ((mask - _nearest(mask.detach(), area)) ** 2).mean() - logit(mask)
        (cells.grad,) = torch.autograd.grad(loss, cells)
        optimiser.step()
        with torch.no_grad():
            cells.clamp_(0, 1)
    return _upsampled(_raised(cells.detach(), smooth), size)


def _nearest(mask: Tensor, area: float) -> Tensor:
    """What each position of the mask [*space] should be: 1 where it is among the largest `area` of all, else 0. Positions that
    are the same to three digits share what they get, so that no index decides between them."""
    _, group, size = (mask.flatten() * 1000).round().unique(return_inverse=True, return_counts=True)
    above = max(1, round(area * mask.numel())) - (size.flip(0).cumsum(0).flip(0) - size)  # places left for a group
    shares: Tensor = (above / size).clamp(0, 1)
    return shares[group].view_as(mask)


def _raised(cells: Tensor, smooth: float) -> Tensor:
    """The smooth maximum over neighbours v of k(u - v)*cells(v), k(d) = exp(-|d|^2/(2*smooth^2)): [..., g, g] of [..., g, g].

    smax of values f is sum(f*exp(f/T))/sum(exp(f/T)), over the neighbours within 2*smooth cells.
    """
    reach = max(1, round(2 * smooth))
    near = torch.arange(-reach, reach + 1, device=cells.device, dtype=cells.dtype)
    kernel = torch.exp(-(near[:, None] ** 2 + near**2) / (2 * smooth**2))
    planes = cells.view(-1, 1, *cells.shape[-2:])
    around = F.unfold(F.pad(planes, (reach,) * 4), len(near)) * kernel.flatten()[:, None]
    return (around * (around / TEMPERATURE).softmax(1)).sum(1).view_as(cells)


def _upsampled(cells: Tensor, size: Sequence[int]) -> Tensor:
    planes = cells.view(-1, 1, *cells.shape[-2:])
    return F.interpolate(planes, size=tuple(size[-2:]), mode="bilinear", align_corners=False).view(*size)
