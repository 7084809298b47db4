"""AUC in time: how well the relevance of frames tells those with truth from the others."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._auc import auc
from vxp.metrics._time import alike, frame_relevance, truth_frames


@metric("t-auc", family="localisation", better="higher", range=(0, 1), kinds=("heatmap3d",), truth=("mask",),
        undefined=("empty-truth", "full-truth", "constant-groups"),
        source="Mann and Whitney 1947, doi:10.1214/aoms/1177730491",
        caveats=("Assumes that the model uses every frame of the truth and no other.",
                 "With few frames it takes few values: read it over many items."))
def t_auc(case: Case) -> Outcome:
    """Probability that a random frame with truth has more positive relevance than one without; ties count one half.

    The Mann-Whitney statistic of q_t, the sum of the positive part of the map over frame t. Unlike t-energy it does not move
    when a constant is added to a positive map. Range [0, 1], higher is better, 0.5 for a random map. Undefined where no frame
    has truth, where every frame has, and where all frames have one q_t.
    """
    inside = truth_frames(case, "t-auc")
    q = frame_relevance(case)
    return outcome(auc(q, inside, q.argsort(dim=1)), {
        "empty-truth": ~inside.any(1), "full-truth": inside.all(1), "constant-groups": alike(q)})
