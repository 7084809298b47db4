"""Whether the target's probability rises on the masked image, [Y' > Y] (Chattopadhay et al. 2018, eq. 17)."""

import torch

from vxp.core import Case, Plan, metric, outcome
from vxp.metrics._masked import LIMITS, probabilities


@metric("increase-in-confidence", version=2, family="faithfulness", better="higher", range=(0, 1), binary=True,
        undefined=("constant-map",),
        source="Chattopadhay et al. 2018, arXiv:1710.11063; dialect of Gkartzonika 2022 and Ntrougkas 2022",
        limits=LIMITS, caveats=("Can be optimised directly: L-CAM and TAME train on nearly this loss.",
                 "Counts tiny rises like large ones."))
def increase_in_confidence(
    case: Case, *, keep: int = 100, mask: str = "soft", fill: str = "black", ties: str = "index"
) -> Plan:
    """Whether the target's probability rises on the masked image, [Y' > Y] (Chattopadhay et al. 2018, eq. 17).

    The map is min-maxed on its native grid and resampled; the `keep` percent highest positions keep their soft value
    (or 1 with mask `binary`), the rest is 0; the raw image is multiplied by it (the fill shows through). 0 or 1, its
    mean is a share, higher is better. Undefined for a constant map.
    """
    Y, _, masked = yield from probabilities(case, keep=keep, mask=mask, fill=fill, ties=ties)
    rises = torch.where(masked.isnan(), masked, (masked > Y).double())
    return outcome(rises, {"constant-map": case.constant})
