"""The changes of the map under small input noise, which max-sensitivity and average-sensitivity sum up."""

from collections.abc import Generator

import torch
from torch import Tensor

from vxp.core import Case, Explain, Noised, Request


def relative_changes(case: Case, samples: int, radius: float) -> Generator[Request, Tensor, tuple[Tensor, Tensor]]:
    """||e(x + d) - e(x)||_2 / ||e(x)||_2 [B, samples] float64, and where ||e(x)|| is 0, bool [B].

    Both metrics draw from the stream of max-sensitivity, so that one set of maps serves them.
    """
    edits = tuple(Noised("max-sensitivity@1/noise", draw, radius) for draw in range(samples))
    near = yield Request(edits, Explain(), "map")
    flat = case.map.flatten(1).double()
    size = flat.norm(dim=1)
    zero = size == 0
    change = torch.stack([(n.flatten(1).double() - flat).norm(dim=1) for n in near.unbind(1)], dim=1)
    return change / torch.where(zero, torch.ones_like(size), size)[:, None], zero
