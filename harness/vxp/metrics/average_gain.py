"""Relative gain of the target's probability on the masked image, max(0, Y' - Y)/(1 - Y) (Zhang et al. 2023)."""

import torch

from vxp.core import Case, Plan, metric, outcome
from vxp.metrics._masked import LIMITS, SATURATED, probabilities


@metric("average-gain", version=2, family="faithfulness", better="higher", range=(0, 1),
        undefined=("constant-map", "saturated"), source="Zhang et al. 2023 (Opti-CAM), arXiv:2301.07002",
        limits=LIMITS, caveats=("Can be optimised directly: L-CAM and TAME train on nearly this loss.",
                 "Says little where the probability is near 1 already."))
def average_gain(case: Case, *, keep: int = 100, mask: str = "soft", fill: str = "black", ties: str = "index") -> Plan:
    """Relative gain of the target's probability on the masked image, max(0, Y' - Y)/(1 - Y) (Zhang et al. 2023).

    The map is min-maxed on its native grid and resampled; the `keep` percent highest positions keep their soft value
    (or 1 with mask `binary`), the rest is 0; the raw image is multiplied by it (the fill shows through). A fraction in
    [0, 1], higher is better. Undefined for a constant map and where 1 - Y < 1e-12 (`saturated`).
    """
    Y, rest, masked = yield from probabilities(case, keep=keep, mask=mask, fill=fill, ties=ties)
    saturated = rest < SATURATED
    gain = (masked - Y).clamp_min(0) / torch.where(saturated, torch.ones_like(rest), rest)
    return outcome(gain, {"constant-map": case.constant, "saturated": saturated})
