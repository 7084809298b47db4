"""Pointing over space and time: whether the map's maximum lies in the truth of a clip."""

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics._truth import truth


@metric("st-pointing", family="localisation", better="higher", range=(0, 1), binary=True, kinds=("heatmap3d",),
        truth=("mask",), undefined=("constant-map", "empty-truth", "full-truth"),
        source="Zhang et al. 2018, doi:10.1007/s11263-017-1059-x; Li et al. 2021 (STEP), arXiv:2109.00222",
        caveats=("Judges one voxel only.",
                 "A map of the last layer is coarse: its maximum can miss a small truth that it covers."))
def st_pointing(case: Case) -> Outcome:
    """1 where the most relevant voxel of a clip lies in the truth, else 0 (Zhang et al. 2018, without a tolerance).

    The maximum is the first one in row-major order (t, y, x). Higher is better; a random map scores the truth's share of the
    clip in expectation. Undefined for a constant map, an empty truth and one that covers everything.
    """
    inside = truth(case, ("mask",), "st-pointing")
    hit = inside.gather(1, case.order[:, :1]).flatten()
    return outcome(hit.double(), {
        "constant-map": case.constant, "empty-truth": ~inside.any(1), "full-truth": inside.all(1)})
