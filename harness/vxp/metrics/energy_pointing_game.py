"""Energy-based pointing game: the share of positive relevance inside the truth."""

from vxp.core import Case, Outcome, metric
from vxp.kinds import MAPS
from vxp.metrics._energy import energy_inside


@metric("energy-pointing-game", family="localisation", better="higher", range=(0, 1), kinds=MAPS, truth=("mask", "cells"),
        undefined=("empty-truth", "no-positive-mass"), source="Wang et al. 2020 (Score-CAM), arXiv:1910.01279",
        caveats=("Assumes that the model uses the object only; context that it does use counts against the map.",))
def energy_pointing_game(case: Case) -> Outcome:
    """Positive relevance inside the truth over all positive relevance (Wang et al. 2020); also called relevance mass.

    Range [0, 1], higher is better; a uniform map scores the truth's share of the image. Undefined for an empty truth
    and for a map without positive values.
    """
    return energy_inside(case, ("mask", "cells"), "energy-pointing-game")
