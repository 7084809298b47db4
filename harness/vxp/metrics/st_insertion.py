"""Insertion over space and time: the target's probability while the most relevant voxels of a clip are shown first."""

from vxp.core import Case, Plan, metric
from vxp.core.perturb import cuts
from vxp.metrics._curves import VOXEL_FILLS, insertion_area


@metric("st-insertion", family="faithfulness", better="higher", range=(0, 1), kinds=("heatmap3d",), undefined=("constant-map",),
        source="Li et al. 2021 (STEP), arXiv:2109.00222; Petsiuk, Das and Saenko 2018 (RISE), arXiv:1806.07421",
        axis="share shown", shows_inversion=True, limits={"steps": (1, None), "fill": VOXEL_FILLS},
        caveats=("With `hold` one voxel that is shown fills its place in all frames, so that few voxels make a still clip.",
                 "With `blur` the motion is there from the start, and maps of a motion model hardly differ.",
                 "Rewards compact maps on the most recognisable part, whether or not the rest was used."))
def st_insertion(case: Case, *, steps: int = 28, fill: str = "hold") -> Plan:
    """Area under the target's probability while the most relevant voxels of a clip replace the fill (Li et al. 2021).

    At step s the k_s most relevant of the P = T*H*W positions show the clip and all others the fill: the rows of
    least-relevant-first removal into the same fill, read backwards. Range [0, 1], higher is better. Undefined for a constant
    map. The default is not the blur of images, which leaves motion as it is: under `hold` nothing moves that was not shown,
    and the rows are those of st-srg.
    """
    counts = cuts(steps, case.batch.positions)
    return (yield from insertion_area(case, counts, fill, {"constant-map": case.constant}))
