"""Random subsets of positions: what the map gives to them against what the logit loses without them."""

from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from vxp.core import Case, Edit, Part, Request, Scattered, Stream, Unchanged, Without, perturb


def mass_and_drop(
    case: Case, stream: Stream, samples: int, n: int, fill: str
) -> Generator[Request, Tensor, tuple[Tensor, Tensor]]:
    """Sum of the evaluation map over each subset of n positions, and f(x) - f(x without it), both float64 [B, samples]."""
    return (yield from mass_and_drop_of(case, [Scattered(stream, draw, n) for draw in range(samples)], fill))


def mass_and_drop_of(case: Case, parts: Sequence[Part], fill: str) -> Generator[Request, Tensor, tuple[Tensor, Tensor]]:
    """Sum of the evaluation map over each part, and f(x) - f(x without it), both float64 [B, number of parts]."""
    edits: tuple[Edit, ...] = (Unchanged(), *(Without(part, fill) for part in parts))
    logits = yield Request(edits, readout="logit")
    flat = case.map.flatten(1).double()
    mass = torch.stack([torch.stack([values @ gone.double() for gone in perturb.parts(parts, case.batch, i)])
                        for i, values in enumerate(flat)])
    return mass.cpu(), logits[:, :1] - logits[:, 1:]


def pearson(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Pearson's correlation along dim 1 of float64 [B, N], and where one side does not vary, bool [B]."""
    still = (a.amax(1) == a.amin(1)) | (b.amax(1) == b.amin(1))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    spread = a.norm(dim=1) * b.norm(dim=1)
    # rounding can pass 1 in the last digit
    return ((a * b).sum(1) / torch.where(spread == 0, torch.ones_like(spread), spread)).clamp(-1, 1), still | (spread == 0)
