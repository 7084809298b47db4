"""Average sensitivity: the mean relative change of the map under small input noise."""

from vxp.core import Case, Plan, metric, outcome
from vxp.metrics._sensitivity import relative_changes


@metric("average-sensitivity", family="robustness", better="lower", range=(0, None), re_explains="samples",
        undefined=("zero-map",), source="Yeh et al. 2019, arXiv:1901.09392; Bhatt, Weller and Moura 2020, arXiv:2005.00631",
        caveats=("A constant explanation is perfectly stable: never read it without a faithfulness score.",),
        references=False, limits={"samples": (1, None), "radius": (0, None)})
def average_sensitivity(case: Case, *, samples: int = 50, radius: float = 0.2) -> Plan:
    """Mean relative change of the map over draws from an L-inf ball around the input.

    Mean over draws of ||e(x + d) - e(x)||_2 / ||e(x)||_2, with the draws of max-sensitivity; the explained class stays
    that of x. At least 0, lower is better, at most max-sensitivity. Undefined for a map that is zero everywhere.
    """
    changes, zero = yield from relative_changes(case, samples, radius)
    return outcome(changes.mean(1), {"zero-map": zero})
