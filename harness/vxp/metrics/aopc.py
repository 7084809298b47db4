"""AOPC: how far the target's probability falls while the most relevant tiles of the image are removed."""

from vxp.core import Case, Plan, metric, outcome
from vxp.core.perturb import FILLS
from vxp.metrics._regions import scaled_side, tiled


@metric("aopc", family="faithfulness", better="higher", range=(-1, 1), undefined=("constant-map",),
        source="Samek et al. 2017, doi:10.1109/TNNLS.2016.2599820, arXiv:1509.06321",
        axis="share of tiles removed", limits={"regions": (1, None), "fill": FILLS},
        caveats=("Only the most relevant tiles are removed, a sixth of a 224 pixel image by default: what the map says of the "
                 "rest does not count.",
                 "The largest value is the target's probability on the image itself: images of low confidence score low with "
                 "any map, so compare maps of the same items only.",
                 "Noise in tiles is out of distribution: part of the fall is the model's answer to the noise, not to the loss.",
                 "Maps finer than a tile are averaged over it."))
def aopc(case: Case, *, regions: int = 100, fill: str = "noise") -> Plan:
    """Mean of p(x_0) - p(x_k) over k = 0 to L, the k most relevant tiles of x_k removed (Samek et al. 2017).

    Tiles have side 9 at 224 pixels, scaled with the shorter side, and are laid from the top left; those at the right
    and lower border may be cut. They go by the mean of the map, descending, ties by index. L is `regions`, or the
    number of tiles where the image has fewer. Range [-1, 1], higher is better. Undefined for a constant map. The paper
    repeats its uniform noise ten times; here one keyed draw per item serves all steps, so that rows can be shared.
    """
    order, tiles = tiled(case, scaled_side(9, 224, case))
    last = min(regions, tiles)
    curve = yield case.removed(range(last + 1), fill, order=order)
    return outcome((curve[:, :1] - curve).mean(1), {"constant-map": case.constant}, curve=curve,
                   x=[k / tiles for k in range(last + 1)])
