"""Insertion: the target's probability while the most relevant positions are shown first."""

from vxp.core import Case, Plan, metric
from vxp.core.perturb import FILLS, cuts
from vxp.metrics._curves import insertion_area


@metric("insertion", family="faithfulness", better="higher", range=(0, 1), undefined=("constant-map",),
        source="Petsiuk, Das and Saenko 2018 (RISE), arXiv:1806.07421",
        axis="share shown", shows_inversion=True, limits={"steps": (1, None), "fill": FILLS},
        caveats=("The blurred image keeps low frequencies, so the curve does not start from nothing.",
                 "Rewards compact maps on the most recognisable part, whether or not the rest was used."))
def insertion(case: Case, *, steps: int = 224, fill: str = "blur") -> Plan:
    """Area under the target's probability while the most relevant positions replace the fill (Petsiuk et al. 2018).

    At step s the k_s = floor(s*P/S) most relevant positions show the image and all others the fill: the rows of
    least-relevant-first removal into the same fill, read backwards. Range [0, 1], higher is better. Undefined for a
    constant map.
    """
    counts = cuts(steps, case.batch.positions)
    return (yield from insertion_area(case, counts, fill, {"constant-map": case.constant}))
