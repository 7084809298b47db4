"""Completeness: how far the map's sum is from what the logit loses when everything is removed."""

import torch

from vxp.core import Case, Filled, Plan, Request, Unchanged, metric, outcome
from vxp.core.perturb import IMAGES
from vxp.metrics._regions import ROUNDING


@metric("completeness", family="axioms", better="lower", range=(0, None), undefined=("zero-difference",),
        source="Sundararajan, Taly and Yan 2017, arXiv:1703.01365", limits={"fill": tuple(IMAGES)},
        caveats=("A map whose single values are arbitrary can have the right sum.",
                 "Maps that only rank, such as CAMs, are not made to be complete: their score says nothing of their order.",
                 "Depends on the reference image: it should be the one that the explainer took."))
def completeness(case: Case, *, fill: str = "black") -> Plan:
    """|sum of the map - (f(x) - f(filled))| / |f(x) - f(filled)|, f the logit (Sundararajan et al. 2017, axiom 3).

    At least 0, lower is better; 0 for a complete attribution, 1 for a map of zeros. Undefined where the logit changes by
    at most 1e-6*max(1, |f(x)|). The axiom is an equation; its gap relative to the difference has no scale.
    """
    whole, filled = (yield Request((Unchanged(), Filled(fill)), readout="logit")).unbind(1)
    difference = whole - filled
    nothing = difference.abs() <= ROUNDING * whole.abs().clamp_min(1)
    gap = (case.map.flatten(1).double().sum(1).cpu() - difference).abs()
    return outcome(gap / torch.where(nothing, torch.ones_like(gap), difference.abs()), {"zero-difference": nothing})
