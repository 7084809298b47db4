"""Deletion: the target's probability while the most relevant positions are removed first."""

from vxp.core import Case, Plan, metric
from vxp.core.perturb import FILLS, cuts
from vxp.metrics._curves import deletion_area


@metric("deletion", family="faithfulness", better="lower", range=(0, 1), undefined=("constant-map",),
        source="Petsiuk, Das and Saenko 2018 (RISE), arXiv:1806.07421",
        shows_inversion=True, limits={"steps": (1, None), "fill": FILLS},
        caveats=("Rewards maps that remove pixels in an adversarial order: a noisy map can score well.",
                 "Filled images are out of distribution; the score depends on the fill."))
def deletion(case: Case, *, steps: int = 224, fill: str = "mean") -> Plan:
    """Area under the target's probability while the most relevant positions are replaced first (Petsiuk et al. 2018).

    At step s the k_s = floor(s*P/S) most relevant positions carry the fill; the area is the trapezoid rule over the
    true fractions k_s/P, both endpoints included. Range [0, 1], lower is better. Undefined for a constant map.
    RISE's script fills with zeros of the normalised input, which is this fill, and steps by a number of pixels.
    """
    counts = cuts(steps, case.batch.positions)
    return (yield from deletion_area(case, counts, fill, {"constant-map": case.constant}))
