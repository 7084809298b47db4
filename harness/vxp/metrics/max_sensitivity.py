"""Max-sensitivity: the largest relative change of the map under small input noise."""

from vxp.core import Case, Plan, metric, outcome
from vxp.kinds import MAPS
from vxp.metrics._sensitivity import relative_changes


@metric("max-sensitivity", family="robustness", better="lower", range=(0, None), kinds=MAPS, re_explains="samples",
        undefined=("zero-map",), source="Yeh et al. 2019, arXiv:1901.09392",
        caveats=("A constant explanation is perfectly stable: never read it without a faithfulness score.",
                 "Grows with the number of draws."),
        references=False, limits={"samples": (1, None), "radius": (0, None)})
def max_sensitivity(case: Case, *, samples: int = 50, radius: float = 0.2) -> Plan:
    """Largest relative change of the map over draws from an L-inf ball around the input (Yeh et al. 2019, eq. 5).

    max over draws of ||e(x + d) - e(x)||_2 / ||e(x)||_2, d uniform and symmetric in [-radius, radius] per value, in
    the model's input units; the explained class stays that of x. At least 0, lower is better. Undefined for a map that
    is zero everywhere. The division by ||e(x)|| is that of the authors' code, not of the equation.
    """
    changes, zero = yield from relative_changes(case, samples, radius)
    return outcome(changes.amax(1), {"zero-map": zero})
