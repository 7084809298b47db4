"""Top-P average drop: how much of the target's probability the most relevant frames alone lose."""

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
    average_drop,
    judged,
    probabilities,
    rows,
    shown,
    without_rest,
)


@metric("top-p-average-drop", family="faithfulness", better="lower", range=(0, 1), kinds=("heatmap3d", "temporal"),
        undefined=(FEW, ALIKE, "saturated"), source=f"{SOURCE}; Chattopadhay et al. 2018, arXiv:1710.11063",
        limits={**LIMITS, "readout": READOUTS},
        caveats=("A rise of the probability counts as no drop: `top-p-increase` counts it.",
                 "Says when, and nothing of where.", HELD))
def top_p_average_drop(case: Case, *, top: int = 1, removal: Removal = "hold", readout: Shown = "softmax") -> Plan:
    """max(0, Y - Y')/Y, Y the target's probability on the clip and Y' that on its `top` most relevant frames alone.

    Frames go by the sum of the positive part of the map, of scores of parts by the score, ties by index. Range [0, 1], lower is
    better. Undefined where no frame is left out, where all frames have one relevance, and where Y < 1e-12.
    """
    if (nothing := without_rest(case, top)) is not None:
        return nothing
    answer = yield rows(case, top, removal, shown(readout))
    return judged(case, average_drop(*probabilities(answer, readout)))
