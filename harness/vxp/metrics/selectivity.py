"""Selectivity: the target's probability while patches of the image are removed, the most relevant first."""

from vxp.core import Case, Plan, metric
from vxp.core.perturb import FILLS
from vxp.metrics._curves import deletion_area
from vxp.metrics._regions import scaled_side, tiled


@metric("selectivity", family="faithfulness", better="lower", range=(0, 1), undefined=("constant-map",),
        source="Montavon, Samek and Mueller 2018, doi:10.1016/j.dsp.2017.10.011, arXiv:1706.07979",
        axis="share of patches removed", limits={"fill": FILLS},
        caveats=("Few and large patches: maps that differ within a patch score alike.",
                 "Filled images are out of distribution; the score depends on the fill.",
                 "The curve begins at the probability of the image itself: an image of low probability scores well with any "
                 "map, so compare maps of the same items only."))
def selectivity(case: Case, *, fill: str = "mean") -> Plan:
    """Area under the target's probability while patches are removed, the most relevant first (Montavon et al. 2018).

    Patches have side 4 at 28 pixels, as in the paper's example, scaled with the shorter side (32 at 224: 49 patches);
    laid from the top left, those at the right and lower border may be cut. They go by the mean of the map, descending,
    ties by index, until none is left; the area is the trapezoid rule over the fraction of patches. Range [0, 1], lower
    is better. Undefined for a constant map. The paper paints digits black, which is their background; the value of no
    evidence in a photograph is the mean, hence the default.
    """
    order, patches = tiled(case, scaled_side(4, 28, case))
    return (yield from deletion_area(case, range(patches + 1), fill, {"constant-map": case.constant}, order=order))
