"""Deletion over space and time: the target's probability while the most relevant voxels of a clip are removed first."""

from vxp.core import Case, Plan, metric
from vxp.core.perturb import cuts
from vxp.metrics._curves import VOXEL_FILLS, deletion_area


@metric("st-deletion", family="faithfulness", better="lower", range=(0, 1), kinds=("heatmap3d",), undefined=("constant-map",),
        source="Li et al. 2021 (STEP), arXiv:2109.00222; Petsiuk, Das and Saenko 2018 (RISE), arXiv:1806.07421",
        shows_inversion=True, limits={"steps": (1, None), "fill": VOXEL_FILLS},
        caveats=("Rewards maps that remove voxels in an adversarial order: a noisy map can score well.",
                 "The probability of the whole clip is part of the area: compare maps of the same items only.",
                 "The score depends on the fill, and with `hold` a voxel that is removed in all frames carries the mean."))
def st_deletion(case: Case, *, steps: int = 28, fill: str = "hold") -> Plan:
    """Area under the target's probability while the most relevant voxels of a clip are replaced first (Li et al. 2021).

    At step s the k_s = floor(s*P/S) most relevant of the P = T*H*W positions carry the fill; the area is the trapezoid rule
    over the true fractions k_s/P, both endpoints included. Range [0, 1], lower is better. Undefined for a constant map. The
    source fills with zeros of the input; `hold` shows what was last seen at the place, so that what goes is the change, and no
    dark or grey shape comes that moves by itself.
    """
    counts = cuts(steps, case.batch.positions)
    return (yield from deletion_area(case, counts, fill, {"constant-map": case.constant}))
