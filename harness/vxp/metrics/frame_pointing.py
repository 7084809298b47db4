"""Pointing frame by frame: in how many frames with truth the frame's own maximum lies in it."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._truth import truth


@metric("frame-pointing", family="localisation", better="higher", range=(0, 1), kinds=("heatmap3d",), truth=("mask",),
        undefined=("constant-map", "empty-truth", "full-truth"), source="Li et al. 2021 (STEP), arXiv:2109.00222",
        caveats=("Asks every frame with truth for an answer, also those that the model did not need.",
                 "Says where, and nothing of when: frames without truth are not looked at."))
def frame_pointing(case: Case) -> Outcome:
    """Share of the frames with truth in which the frame's own most relevant position lies in it (Li et al. 2021).

    The maximum of a frame is the first one in row-major order; a frame in which the map has one value points nowhere and is no
    hit. Range [0, 1], higher is better. Undefined for a constant map, an empty truth and one that covers everything.
    """
    inside = truth(case, ("mask",), "frame-pointing").unflatten(1, (case.batch.space[0], -1))
    values = case.map.flatten(2)
    judged = inside.any(2)
    # the first maximum: argmax of torch does not say which
    first = values.argsort(dim=2, descending=True, stable=True)[..., :1]
    hit = inside.gather(2, first).squeeze(2) & (values.amax(2) != values.amin(2))
    return outcome(hit.sum(1).double() / judged.sum(1).clamp_min(1), {
        "constant-map": case.constant, "empty-truth": ~judged.any(1), "full-truth": inside.flatten(1).all(1)})
