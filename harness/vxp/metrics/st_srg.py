"""Symmetric relevance gain over space and time: least-relevant-first area minus most-relevant-first area of a clip."""

from vxp.core import Case, Plan, metric
from vxp.core.perturb import cuts
from vxp.metrics._curves import VOXEL_FILLS, relevance_gain


@metric("st-srg", family="faithfulness", better="higher", range=(-1, 1), kinds=("heatmap3d",), undefined=("constant-map",),
        source="Bluecher, Vielhaben and Strodthoff 2024, arXiv:2401.06654",
        shows_inversion=True, limits={"steps": (1, None), "fill": VOXEL_FILLS},
        caveats=("Both curves leave the distribution of natural clips.",))
def st_srg(case: Case, *, steps: int = 28, fill: str = "hold") -> Plan:
    """Area of removal of a clip's voxels in rising order of relevance minus area in falling order (Bluecher et al. 2024).

    Both curves are the target's probability over the fraction removed of the P = T*H*W positions, trapezoid rule, both
    endpoints. An order that carries no information scores 0 in expectation. Range [-1, 1], higher is better. Undefined for a
    constant map. Its rows are those of st-deletion and st-insertion, hence the same fill.
    """
    return (yield from relevance_gain(case, cuts(steps, case.batch.positions), fill))
