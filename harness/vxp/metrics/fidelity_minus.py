"""Fidelity-: how much accuracy is lost on the most relevant frames alone."""

from vxp.core import Case, Plan, metric
from vxp.metrics._top_frames import ALIKE, FEW, HELD, LIMITS, NO_LABEL, SOURCE, Removal, judged, lost, rows, without_rest


@metric("fidelity-minus", family="faithfulness", better="lower", range=(-1, 1), kinds=("heatmap3d", "temporal"),
        undefined=(FEW, ALIKE, NO_LABEL), source=f"{SOURCE}; Yuan et al. 2022, arXiv:2012.15445", limits=LIMITS,
        caveats=("-1, 0 or 1 per clip: read the mean over many clips.",
                 "A clip that the model gets wrong has -1 or 0: it measures the model, too.",
                 "The labels decide, whichever class is explained.", HELD))
def fidelity_minus(case: Case, *, top: int = 1, removal: Removal = "hold") -> Plan:
    """Whether the model is right on the clip, less whether it is on its `top` most relevant frames alone.

    It is right where the class that it predicts is one of the item's labels. Frames go as in `top-p-average-drop`. -1, 0 or
    1 of a clip, lower is better. Undefined where no frame is left out, where all frames have one relevance, and where no label
    is known.
    """
    if (nothing := without_rest(case, top)) is not None:
        return nothing
    answer = yield rows(case, top, removal, "argmax")
    return judged(case, lost(answer, case.batch.known_labels()))
