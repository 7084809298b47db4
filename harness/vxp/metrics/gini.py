"""Gini index: how concentrated a map is."""

import torch

from vxp.core import Case, Outcome, metric, outcome
from vxp.kinds import MAPS


@metric("gini", family="complexity", better="higher", range=(0, 1), kinds=MAPS, undefined=("zero-map",),
        source="Chalasani et al. 2020, arXiv:1810.06583",
        caveats=("A concise map can be wrong.",))
def gini(case: Case) -> Outcome:
    """Gini index of the absolute map: 1 - 2*sum_k |m|_(k)/||m||_1 * (P - k + 1/2)/P (Chalasani et al. 2020).

    |m|_(k) is the k-th smallest. Range [0, 1), higher is better: 0 for a uniform map, 1 - 1/P for a single position.
    Undefined for a map that is zero everywhere.
    """
    size = case.map.flatten(1).abs().sort(dim=1).values.double()
    P = size.shape[1]
    total = size.sum(1)
    zero = total == 0
    weight = (P - torch.arange(1, P + 1, dtype=torch.float64, device=size.device) + 0.5) / P
    return outcome(1 - 2 * (size @ weight) / torch.where(zero, torch.ones_like(total), total), {"zero-map": zero})
