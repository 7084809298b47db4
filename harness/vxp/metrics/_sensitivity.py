"""The changes of the map under small input noise, which the robustness metrics sum up."""

from collections.abc import Generator

import torch
from torch import Tensor

from vxp.core import Case, Explain, Noised, Request, Stream
from vxp.core.perturb import input_noise

NOISE = Stream("max-sensitivity@1", "noise")
"""The stream of every metric that adds noise to the input, so that one set of maps serves them all."""


def noised(samples: int, radius: float) -> tuple[Noised, ...]:
    """The noisy inputs of draws 0 to samples - 1."""
    return tuple(Noised(NOISE, draw, radius) for draw in range(samples))


def relative_changes(case: Case, samples: int, radius: float) -> Generator[Request, Tensor, tuple[Tensor, Tensor]]:
    """||e(x + d) - e(x)||_2 / ||e(x)||_2 [B, samples] float64, and where ||e(x)|| is 0, bool [B]."""
    near = yield Request(noised(samples, radius), Explain(), "map")
    flat = case.map.flatten(1).double()
    size = flat.norm(dim=1)
    zero = size == 0
    change = torch.stack([(n.flatten(1).double() - flat).norm(dim=1) for n in near.unbind(1)], dim=1)
    return change / torch.where(zero, torch.ones_like(size), size)[:, None], zero


def noise_sizes(case: Case, samples: int, radius: float) -> Tensor:
    """||d||_2 over all input values [B, samples] float64, of the same draws, in the model's input units."""
    batch = case.batch
    return torch.stack([
        torch.stack([input_noise(batch, i, NOISE, draw, radius).double().norm() for draw in range(samples)])
        for i in range(len(batch))
    ])
