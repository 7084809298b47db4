"""Max-sensitivity: the largest relative change of the map under small input noise."""

import torch

from vxp.core import Case, Explain, Noised, Plan, Request, metric, outcome


@metric("max-sensitivity", family="robustness", better="lower", range=(0, None), re_explains="samples",
        undefined=("zero-map",), source="Yeh et al. 2019, arXiv:1901.09392",
        caveats=("A constant explanation is perfectly stable: never read it without a faithfulness score.",
                 "Grows with the number of draws."))
def max_sensitivity(case: Case, *, samples: int = 50, radius: float = 0.2) -> Plan:
    """Largest relative change of the map over draws from an L-inf ball around the input (Yeh et al. 2019, eq. 5).

    max over draws of ||e(x + d) - e(x)||_2 / ||e(x)||_2, d uniform and symmetric in [-radius, radius] per value, in
    the model's input units; the explained class stays that of x. At least 0, lower is better. Undefined for a map that
    is zero everywhere. The division by ||e(x)|| is that of the authors' code, not of the equation.
    """
    edits = tuple(Noised("max-sensitivity@1/noise", draw, radius) for draw in range(samples))
    near = yield Request(edits, Explain(), "map")
    flat = case.map.flatten(1).double()
    size = flat.norm(dim=1)
    zero = size == 0
    change = torch.stack([(n.flatten(1).double() - flat).norm(dim=1) for n in near.unbind(1)], dim=1)
    return outcome(change.amax(1) / torch.where(zero, torch.ones_like(size), size), {"zero-map": zero})
