"""Pixel flipping: the target's logit while the most relevant positions are removed first."""

from vxp.core import Case, Plan, metric, outcome
from vxp.core.perturb import FILLS, cuts, trapezoid


@metric("pixel-flipping", family="faithfulness", better="lower", range=(None, None), undefined=("constant-map",),
        source="Bach et al. 2015, doi:10.1371/journal.pone.0130140",
        shows_inversion=True, limits={"steps": (1, None), "fill": FILLS},
        caveats=("Logits of different models have different scales: compare explainers of one model only.",
                 "Filled images are out of distribution; the score depends on the fill."))
def pixel_flipping(case: Case, *, steps: int = 224, fill: str = "mean") -> Plan:
    """Area under the target's logit while the most relevant positions are replaced first (Bach et al. 2015).

    The rows are those of deletion with the same steps and fill, read before the softmax; the area is the trapezoid
    rule over the true fractions, both endpoints included. Lower is better. Undefined for a constant map.
    """
    counts = cuts(steps, case.batch.positions)
    x = [k / case.batch.positions for k in counts]
    curve = yield case.removed(counts, fill, readout="logit")
    return outcome(trapezoid(curve, counts), {"constant-map": case.constant}, curve=curve, x=x)
