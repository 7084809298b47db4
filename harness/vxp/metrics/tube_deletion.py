"""Tube deletion: the target's probability while places of a clip are removed in all frames, the most relevant first."""

from vxp.core import Case, Plan, metric
from vxp.core.perturb import cuts
from vxp.metrics._curves import VOXEL_FILLS, deletion_area
from vxp.metrics._time import alike, by_tube, tube_relevance

FILLS = tuple(fill for fill in VOXEL_FILLS if fill != "hold")


@metric("tube-deletion", family="faithfulness", better="lower", range=(0, 1), kinds=("heatmap3d",),
        undefined=("constant-groups",),
        source="Petsiuk, Das and Saenko 2018 (RISE), arXiv:1806.07421, for places of a clip",
        limits={"steps": (1, None), "fill": FILLS},
        caveats=("Says where, and nothing of when: all maps with the same sums over time score alike.",
                 "What moves across the clip is cut by every tube that it passes.",
                 "Filled clips are out of distribution; the score depends on the fill."))
def tube_deletion(case: Case, *, steps: int = 28, fill: str = "mean") -> Plan:
    """Area under the target's probability while tubes are replaced, those of the largest sum of the map over time first.

    A tube is one position (y, x) in all frames. At step s the k_s = floor(s*H*W/S) first tubes carry the fill; the area is the
    trapezoid rule over k_s/(H*W). Range [0, 1], lower is better. Undefined where all tubes have one sum. Of a tube `hold` keeps
    no frame to hold, so that it would be `mean`, which is the default.
    """
    H, W = case.batch.space[1:]
    undefined = {"constant-groups": alike(tube_relevance(case))}
    return (yield from deletion_area(case, cuts(steps, H * W), fill, undefined, order=by_tube(case)))
