"""Efficient MPRT: how much more complex the map becomes when the model is randomised."""

import torch
from torch import Tensor

from vxp.core import Case, Explain, Plan, Randomised, Request, Unchanged, metric, outcome
from vxp.core.perturb import minmax


@metric("efficient-mprt", family="sanity", better="higher", range=(-1, None), re_explains=1,
        undefined=("constant-map",), source="Hedstroem et al. 2024, arXiv:2401.06465",
        caveats=("A histogram knows nothing of place: a map that moves elsewhere can keep its entropy.",
                 "Says that a map depends on the parameters, not that it is right."),
        limits={"bins": (2, None)})
def efficient_mprt(case: Case, *, bins: int = 100) -> Plan:
    """Relative rise of the map's histogram entropy under full model randomisation (Hedstroem et al. 2024).

    (H(e') - H(e))/H(e), H the entropy in nats of the histogram of the evaluation map min-maxed per map to [0, 1], bin
    min(floor(v*bins), bins - 1); e' is the map of the model with every parameter drawn anew. Higher is better, at
    least -1. A constant e' has entropy 0. Undefined for a constant e, the only map without entropy: any other has a 0 and a 1
    once it is min-maxed, and so two bins.
    """
    again = yield Request((Unchanged(),), Explain(state=Randomised("efficient-mprt@1")), "map")
    before, after = histogram_entropy(case.map, bins), histogram_entropy(again[:, 0].nan_to_num(), bins)
    after = after.masked_fill(~torch.isfinite(again[:, 0]).flatten(1).all(1), float("nan"))
    nothing = before == 0
    score = (after - before) / torch.where(nothing, torch.ones_like(before), before)
    return outcome(score, {"constant-map": case.constant})


def histogram_entropy(maps: Tensor, bins: int) -> Tensor:
    """Entropy in nats [B] of the histogram of each map [B, H, W], min-maxed to [0, 1]; 0 for a constant map."""
    place = (minmax(maps.double()).flatten(1) * bins).floor().clamp_max(bins - 1).long()
    counts = torch.zeros(len(maps), bins, dtype=torch.float64, device=maps.device)
    counts.scatter_add_(1, place, torch.ones_like(place, dtype=torch.float64))
    share = counts / counts.sum(1, keepdim=True)
    spread: Tensor = torch.special.xlogy(share, share).sum(1)
    return -spread
