"""Claim recall: how many of the causes by removal an explanation in words claims."""

from vxp.core import Case, Plan, metric
from vxp.metrics import _texts
from vxp.metrics._claims import CAVEATS, LIMITS, scored
from vxp.metrics._fragments import CONSTANT


@metric("claim-recall", family="faithfulness", better="higher", range=(0, 1), kinds=("text",),
        outputs=("classes", "sequence"), undefined=(CONSTANT, _texts.NO_CAUSE),
        source="VXP; after claims checked one by one, Min et al. 2023, arXiv:2305.14251", limits=LIMITS,
        caveats=("Whoever claims every part has 1: read it with claim-precision.", *CAVEATS))
def claim_recall(case: Case, *, share: float = 0.5, fill: str = "zero") -> Plan:
    """The share of the causes by removal that are claimed to be causes.

    Causes, and what removal does, are those of `claim-precision`. Range [0, 1], higher is better. Undefined where no part is a
    cause, and where all compared scores of a row are equal.
    """
    return (yield from scored(case, share, fill, _texts.claim_recall, _texts.NO_CAUSE))
