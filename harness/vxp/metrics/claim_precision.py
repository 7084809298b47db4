"""Claim precision: how many of the causes that an explanation in words claims are causes by removal."""

from vxp.core import Case, Plan, metric
from vxp.metrics import _texts
from vxp.metrics._claims import CAVEATS, LIMITS, scored
from vxp.metrics._fragments import CONSTANT


@metric("claim-precision", family="faithfulness", better="higher", range=(0, 1), kinds=("text",),
        outputs=("classes", "sequence"), undefined=(CONSTANT, _texts.NO_CLAIM),
        source="VXP; after claims checked one by one, Min et al. 2023, arXiv:2305.14251", limits=LIMITS,
        caveats=("One claim that is right has 1: read it with claim-recall.", *CAVEATS))
def claim_precision(case: Case, *, share: float = 0.5, fill: str = "zero") -> Plan:
    """The share of the claimed causes that are causes by removal.

    A part is a cause where its effect is at least `share` of the largest effect of the item's parts. Of videos parts are
    fragments, claimed as `shot` with their number from 1, and the effect of one is 1 - tau_b between the scores of the frames
    with and without it; of images they are those of the truth `without`, claimed as `part` with their name, and the effect is
    by how much the probability of the target falls. Range [0, 1], higher is better. Undefined where nothing is claimed to be a
    cause, and where all compared scores of a row are equal.
    """
    return (yield from scored(case, share, fill, _texts.claim_precision, _texts.NO_CLAIM))
