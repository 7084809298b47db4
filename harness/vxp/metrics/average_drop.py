"""Relative drop of the target's probability on the masked image, max(0, Y - Y')/Y (Chattopadhay et al. 2018, eq. 16)."""

import torch

from vxp.core import Case, Plan, metric, outcome
from vxp.metrics._masked import LIMITS, SATURATED, probabilities


@metric("average-drop", version=2, family="faithfulness", better="lower", range=(0, 1), undefined=("constant-map", "saturated"),
        source="Chattopadhay et al. 2018, arXiv:1710.11063; dialect of Gkartzonika 2022 and Ntrougkas 2022",
        shows_inversion=True, limits=LIMITS, caveats=("Can be optimised directly: L-CAM and TAME train on nearly this loss.",
                 "The black fill is out of distribution, and a soft mask also darkens what it keeps.",
                 "A map that keeps everything scores 0."))
def average_drop(case: Case, *, keep: int = 100, mask: str = "soft", fill: str = "black", ties: str = "index") -> Plan:
    """Relative drop of the target's probability on the masked image, max(0, Y - Y')/Y (Chattopadhay et al. 2018, eq. 16).

    The map is min-maxed on its native grid and resampled; the `keep` percent highest positions keep their soft value
    (or 1 with mask `binary`), the rest is 0; the raw image is multiplied by it (the fill shows through). A fraction in
    [0, 1], lower is better. Undefined for a constant map and where Y < 1e-12 (`saturated`).
    """
    Y, _, masked = yield from probabilities(case, keep=keep, mask=mask, fill=fill, ties=ties)
    saturated = Y < SATURATED
    drop = (Y - masked).clamp_min(0) / torch.where(saturated, torch.ones_like(Y), Y)
    return outcome(drop, {"constant-map": case.constant, "saturated": saturated})
