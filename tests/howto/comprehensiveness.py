"""Comprehensiveness: what the prediction loses without what the map calls relevant."""

from vxp.core import Case, Plan, metric, outcome
from vxp.core.perturb import FILLS


@metric(
    "comprehensiveness",
    family="faithfulness",
    better="higher",
    range=(-1, 1),
    undefined=("constant-map",),
    limits={"share": (1, 99), "fill": FILLS},
    source="DeYoung et al. 2020 (ERASER), section 4.2, arXiv:1911.03429",
    caveats=(
        "Looks at one cut of the order only.",
        "Filled images are out of distribution; the score depends on the fill.",
    ),
)
def comprehensiveness(case: Case, *, share: int = 10, fill: str = "mean") -> Plan:
    """Target's probability, less that without the `share` percent most relevant positions.

    Range [-1, 1], higher is better. Undefined for a constant map, which ranks nothing.
    """
    whole = yield case.unchanged()
    without = yield case.removed([case.batch.positions * share // 100], fill)
    return outcome((whole - without)[:, 0], {"constant-map": case.constant})
