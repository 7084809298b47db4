"""Pointing game: whether the map's maximum lies on the truth."""

import torch

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._truth import truth


@metric("pointing-game", family="localisation", better="higher", range=(0, 1), binary=True, truth=("mask", "cells"),
        undefined=("constant-map", "empty-truth"), source="Zhang et al. 2018, doi:10.1007/s11263-017-1059-x; TorchRay",
        limits={"tolerance": (0, None)},
        caveats=("Has a centre bias: objects are photographed in the middle.",
                 "Judges one position only."))
def pointing_game(case: Case, *, tolerance: float = 15.0) -> Outcome:
    """1 where the truth comes strictly closer than the tolerance to the map's maximum, else 0 (Zhang et al. 2018).

    The maximum is the first one in row-major order; the tolerance is in pixels of an image whose shorter side is 224
    and scales with it. TorchRay's 15 are pixels of the original image: 15*224/s, s the shorter side of that, is the same
    disc. Higher is better. Undefined for a constant map and an empty truth.
    """
    inside = truth(case, ("mask", "cells"), "pointing-game")
    H, W = case.batch.space
    top = case.order[:, 0]
    place = torch.arange(H * W, device=top.device)
    squared = (place // W - (top // W)[:, None]) ** 2 + (place % W - (top % W)[:, None]) ** 2
    near = squared < (tolerance * min(H, W) / 224) ** 2
    hit = (inside & near).any(1).double()
    return outcome(hit, {"constant-map": case.constant, "empty-truth": ~inside.any(1)})
