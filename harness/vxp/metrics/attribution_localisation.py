"""Attribution localisation: positive relevance inside the truth, plain or against the truth's size."""

from dataclasses import replace

from vxp.core import Case, Outcome, metric
from vxp.kinds import MAPS
from vxp.metrics._energy import energy_inside
from vxp.metrics._truth import truth


@metric("attribution-localisation", family="localisation", better="higher", range=(0, None), kinds=MAPS,
        truth=("mask", "cells"), undefined=("empty-truth", "no-positive-mass"),
        source="Kohlbrenner et al. 2020, arXiv:1910.09840",
        limits={"weighting": ("none", "size")},
        caveats=("Assumes that the model uses the object only; context that it does use counts against the map.",
                 "Weighted by size, small objects dominate the mean."))
def attribution_localisation(case: Case, *, weighting: str = "none") -> Outcome:
    """Positive relevance inside the truth over all positive relevance (Kohlbrenner et al. 2020).

    weighting `none`: the ratio itself, in [0, 1], which is energy-pointing-game by another name; `size`: the ratio times
    P over the truth's size, which is 1 for a uniform map. Higher is better. Undefined for an empty truth and for a map
    without positive values.
    """
    found = energy_inside(case, ("mask", "cells"), "attribution-localisation")
    if weighting == "none":
        return found
    size = truth(case, ("mask", "cells"), "attribution-localisation").sum(1).clamp_min(1)
    return replace(found, values=found.values * (case.batch.positions / size.to(found.values.device)))
