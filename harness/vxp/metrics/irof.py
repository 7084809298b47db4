"""IROF: the area over the target's probability while superpixels are removed, the most relevant first."""

import torch

from vxp.core import Case, Plan, Request, Segment, Unchanged, metric, outcome
from vxp.core.perturb import FILLS
from vxp.metrics._curves import own_area
from vxp.metrics._regions import ranks

LEAST = 1e-12


@metric("irof", family="faithfulness", better="higher", range=(None, 1),
        undefined=("constant-map", "too-few-regions", "saturated"), source="Rieger and Hansen 2020, arXiv:2003.08747",
        limits={"superpixels": (2, None), "fill": FILLS},
        caveats=("The segmentation is a library's: scores are comparable only where the labels are the same.",
                 "Segments follow colours, so a map that is drawn along edges is favoured over a smooth one.",
                 "Filled images are out of distribution; the score depends on the fill.",
                 "A relative fall: where the probability is small to begin with, a small rise counts as a large one, and such "
                 "items can decide a mean."))
def irof(case: Case, *, superpixels: int = 100, fill: str = "image-mean") -> Plan:
    """1 less the area under p(x_k)/p(x_0), the k most relevant superpixels of x_k removed (Rieger and Hansen 2020).

    Superpixels go by the mean of the map, descending, ties by label, until none is left; the area is the trapezoid
    rule over the fraction of the item's own superpixels. The fill is by default each channel's mean over the image
    itself. At most 1, higher is better; 0 for a map without effect, negative where the probability rises. Undefined for
    a constant map, for fewer than two superpixels and where p(x_0) < 1e-12.
    """
    labels = (yield Request((Unchanged(),), Segment(superpixels), "map"))[:, 0].flatten(1).long()
    own = labels.amax(1).cpu() + 1
    order = case.grouped(f"superpixels-{superpixels}", lambda: ranks(case, labels))
    curve = yield case.removed(range(int(own.max()) + 1), fill, order=order)
    before = curve[:, 0]
    nothing = before < LEAST
    kept = own_area(curve / torch.where(nothing, torch.ones_like(before), before)[:, None], own)
    return outcome(1 - kept, {"constant-map": case.constant, "too-few-regions": own < 2, "saturated": nothing})
