"""Energy in time: the share of positive relevance in frames with truth."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._energy import share_inside
from vxp.metrics._time import frame_relevance, truth_frames


@metric("t-energy", family="localisation", better="higher", range=(0, 1), kinds=("heatmap3d",), truth=("mask",),
        undefined=("no-positive-mass", "empty-truth", "full-truth"),
        source="Wang et al. 2020 (Score-CAM), arXiv:1910.01279, for the frames of a clip",
        caveats=("A map that is positive everywhere has its mass everywhere, however well it ranks the frames: see t-auc.",
                 "Assumes that the model uses the frames of the truth only."))
def t_energy(case: Case) -> Outcome:
    """Positive relevance in the frames with truth over all positive relevance: energy-pointing-game of whole frames.

    Range [0, 1], higher is better; a uniform map scores the share of frames with truth. Undefined where no frame has truth,
    where every frame has (it would be 1 for any map), and for a map without positive values.
    """
    inside = truth_frames(case, "t-energy")
    share, empty = share_inside(frame_relevance(case), inside)
    return outcome(share, {
        "no-positive-mass": empty, "empty-truth": ~inside.any(1), "full-truth": inside.all(1)})
