"""Entropy: how spread out a map is."""

import torch

from vxp.core import Case, Outcome, metric, outcome
from vxp.kinds import MAPS


@metric("entropy", family="complexity", better="lower", range=(0, None), kinds=MAPS, undefined=("zero-map",),
        source="Bhatt, Weller and Moura 2020, arXiv:2005.00631",
        caveats=("A concise map can be wrong.",))
def entropy(case: Case) -> Outcome:
    """Entropy in nats of the share of each position in the absolute map (Bhatt et al. 2020, definition 3).

    -sum q ln q with q = |m|/sum|m|. Range [0, ln P], lower is better (a more concise map). Undefined for a map that is
    zero everywhere.
    """
    size = case.map.flatten(1).double().abs()
    total = size.sum(1, keepdim=True)
    zero = total.flatten() == 0
    share = size / torch.where(total == 0, torch.ones_like(total), total)
    return outcome(-torch.special.xlogy(share, share).sum(1), {"zero-map": zero})
