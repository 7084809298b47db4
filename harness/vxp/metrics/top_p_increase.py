"""Top-P increase in confidence: whether the target is more probable on the most relevant frames alone."""

from vxp.core import Case, Plan, metric
from vxp.metrics._top_frames import (
    ALIKE,
    FEW,
    HELD,
    LIMITS,
    READOUTS,
    SOURCE,
    Removal,
    Shown,
    increase,
    judged,
    probabilities,
    rows,
    shown,
    without_rest,
)


@metric("top-p-increase", family="faithfulness", better="higher", range=(0, 1), binary=True, kinds=("heatmap3d", "temporal"),
        undefined=(FEW, ALIKE), source=f"{SOURCE}; Chattopadhay et al. 2018, arXiv:1710.11063",
        limits={**LIMITS, "readout": READOUTS},
        caveats=("0 or 1 per clip: the mean over clips is their share, and by how much the probability rises is not seen.",
                 "A clip of which the model is certain cannot rise.", HELD))
def top_p_increase(case: Case, *, top: int = 1, removal: Removal = "hold", readout: Shown = "softmax") -> Plan:
    """1 where the target's probability on the `top` most relevant frames alone is above that on the clip, else 0.

    Frames go as in `top-p-average-drop`. Higher is better. Undefined where no frame is left out, and where all frames have one
    relevance.
    """
    if (nothing := without_rest(case, top)) is not None:
        return nothing
    answer = yield rows(case, top, removal, shown(readout))
    return judged(case, increase(*probabilities(answer, readout)))
