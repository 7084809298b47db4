"""Coalitions of the regions of an item, and what each region adds by what the model says of them: lime, kernel-shap,
frame-shapley, and the same of fragments.

A coalition is a row of bool [N, M]: the regions that are kept. What the model says of the rows is float64 [N].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from vxp.core import Batch
from vxp.random import key, uniforms

from vxp_explainers._common import check_at_least

Device = torch.device | str


def every(n: int, device: Device) -> Tensor:
    """bool [2^n, n]: each coalition once, row c has region r where bit r of c is 1; the first is empty, the last whole."""
    return (torch.arange(1 << n, device=device)[:, None] >> torch.arange(n, device=device)) & 1 == 1


def tossed(batch: Batch, i: int, purpose: str, samples: int, n: int) -> Tensor:
    """bool [samples, n]: each region with probability 1/2. Region r of sample s is position s*n + r of the draw; sample 0 keeps
    all."""
    draw = uniforms(key(batch.seed, batch.ids[i], purpose, "kept"), 0, samples * n, device=batch.inputs.device)
    kept = (draw < 0.5).view(samples, n)
    kept[0] = True
    return kept


def check_fit(explainer: str, samples: int, kernel_width: float, ridge: float) -> None:
    """VxpError for parameters that no linear model of coalitions is fitted with."""
    check_at_least(explainer, 1, samples=samples)
    check_at_least(explainer, 1e-6, kernel_width=kernel_width)
    check_at_least(explainer, 0, ridge=ridge)


def all_or_tossed(batch: Batch, i: int, purpose: str, samples: int, n: int) -> Tensor:
    """`every` coalition of n regions where there are no more than `samples`, or so many that are `tossed`."""
    return every(n, batch.inputs.device) if 1 << n <= samples else tossed(batch, i, purpose, samples, n)


def paired(batch: Batch, i: int, purpose: str, samples: int, n: int) -> Tensor:
    """bool [samples, n]: all, none, then pairs of a coalition and what it leaves out, their sizes by the Shapley kernel. Of
    pair p the size is position p of one draw; the regions are those of the smallest values, ties by index, among positions p*n
    to p*n + n - 1 of another."""
    device = batch.inputs.device
    ends = torch.tensor([[True], [False]], device=device).expand(2, n)
    pairs = (samples - 1) // 2
    if n == 1 or not pairs:  # nothing lies between all and none: the ends are asked again
        return ends.repeat(samples // 2 + 1, 1)[:samples]
    size = torch.arange(1, n, dtype=torch.float64)
    chance = 1 / (size * (n - size))
    below = (chance / chance.sum()).cumsum(0)[:-1]
    drawn = uniforms(key(batch.seed, batch.ids[i], purpose, "size"), 0, pairs)[0].double()
    sizes = 1 + torch.searchsorted(below, drawn, right=True).to(device)
    values = uniforms(key(batch.seed, batch.ids[i], purpose, "regions"), 0, pairs * n, device=device).view(pairs, n)
    chosen = values.argsort(dim=1, stable=True).argsort(dim=1) < sizes[:, None]
    return torch.cat([ends, torch.stack([chosen, ~chosen], 1).flatten(0, 1)])[:samples]


def coefficients(kept: Tensor, said: Tensor, kernel_width: float, ridge: float) -> Tensor:
    """float64 [M]: argmin over beta of the weighted squares of said - intercept - kept @ beta, plus ridge*|beta|^2. A coalition
    weighs sqrt(exp(-d^2/kernel_width^2)), d its cosine distance from the whole."""
    kept = kept.double()
    distance = 1 - kept.mean(1).sqrt()  # the cosine of a bit vector of n ones with M ones is sqrt(n/M)
    weight = (-(distance / kernel_width) ** 2 / 2).exp()
    weight = weight / weight.amax()
    share = weight / weight.sum()
    # centred by the weighted means, which takes out the intercept
    z, y = kept - share @ kept, said - share @ said
    gram = z.T @ (weight[:, None] * z) + ridge * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    found: Tensor = torch.linalg.pinv(gram, hermitian=True) @ (z.T @ (weight * y))
    return found


def least_squares(kept: Tensor, said: Tensor) -> Tensor:
    """float64 [M]: Shapley values by the least squares of said - none - kept @ value with sum(value) = all - none; rows 0 and 1
    are the ends.

    Drawn by the kernel, coalitions have equal weights. The sum is met by taking value = total/M + rest, sum(rest) = 0.
    """
    kept = kept.double()
    total, n = said[0] - said[1], kept.shape[1]
    even = total / n
    # rest ranges over the vectors of sum 0: centred columns leave their sum free, the smallest solution has sum 0
    z = kept[2:] - kept[2:].mean(1, keepdim=True)
    y = said[2:] - said[1] - kept[2:].sum(1) * even
    rest: Tensor = torch.linalg.pinv(z.T @ z, hermitian=True) @ (z.T @ y)
    return even + rest - rest.mean()


def shapley(said: Tensor, n: int) -> Tensor:
    """float64 [n]: Shapley values by their definition, of what the model says of `every` coalition: the mean over the sizes of
    a coalition, and over the coalitions of that size, of what the region adds to it."""
    kept = every(n, said.device)
    size = kept.sum(1)
    weight = torch.tensor([1 / (n * math.comb(n - 1, k)) for k in range(n)], dtype=torch.float64, device=said.device)
    values = []
    for region in range(n):
        joined = (~kept[:, region]).nonzero().flatten()
        values.append((weight[size[joined]] * (said[joined + (1 << region)] - said[joined])).sum())
    return torch.stack(values)
