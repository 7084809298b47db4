"""Supervoxel deletion: the target's probability while regions of a clip are removed, the most relevant first."""

from vxp.core import Case, Plan, Request, Segment, Unchanged, metric, outcome
from vxp.metrics._curves import VOXEL_FILLS, own_area
from vxp.metrics._regions import means, ranks


@metric("supervoxel-deletion", family="faithfulness", better="lower", range=(0, 1), kinds=("heatmap3d",),
        undefined=("constant-groups",), source="Li et al. 2021 (STEP), arXiv:2109.00222 (with segments)",
        limits={"supervoxels": (2, None), "fill": VOXEL_FILLS},
        caveats=("The segmentation is a library's: scores are comparable only where the labels are the same.",
                 "Segments follow colours, so a map that is drawn along edges is favoured over a smooth one.",
                 "The curve begins at the probability of the clip itself: compare maps of the same items only."))
def supervoxel_deletion(case: Case, *, supervoxels: int = 50, fill: str = "hold") -> Plan:
    """Area under the target's probability while supervoxels of a clip are replaced, those of the largest mean first.

    Supervoxels are regions of similar colour in space and time; they go by the mean of the map, descending, ties by label,
    until none is left. The area is the trapezoid rule over the fraction of the item's own supervoxels. Range [0, 1], lower is
    better. Undefined where all have one mean. The source takes the sum, by which large regions go first under a positive map.
    """
    labels = (yield Request((Unchanged(),), Segment(supervoxels), "map"))[:, 0].flatten(1).long()
    own = labels.amax(1).cpu() + 1
    order = case.grouped(f"supervoxels-{supervoxels}", lambda: ranks(case, labels))
    curve = yield case.removed(range(int(own.max()) + 1), fill, order=order)
    found = means(case, labels)
    largest = found.amax(1, keepdim=True)
    return outcome(own_area(curve, own), {"constant-groups": ((found == largest) | found.isneginf()).all(1)})
