"""Sufficiency: whether items that are explained alike are predicted alike."""

from __future__ import annotations

import torch
from torch import Tensor

from vxp.core import Case, Plan, metric, outcome
from vxp.core.perturb import cells

ROUNDING = 1e-9
"""By so much a scalar product may fall short, so that equal maps are alike at similarity 1 whatever the last digit."""
ROWS = 1024
"""Items compared with all others at a time, so that large sets fit into memory."""


def agreement(statistics: Tensor, clusters: Tensor, counts: Tensor) -> Tensor:
    """Per set [R]: mean over items of the share of their neighbours that have the same prediction; NaN without any.

    statistics [N, 2 + D]: the predicted class, the similarity from which two items are neighbours, and a vector of
    length 1. Items of one cluster are no neighbours.
    """
    predicted, least, vectors = statistics[:, 0], statistics[0, 1].double(), statistics[:, 2:].double()
    shares, counted = torch.zeros(len(counts), dtype=torch.float64), torch.zeros(len(counts), dtype=torch.float64)
    for rows in torch.arange(len(vectors)).split(ROWS):
        near = (vectors @ vectors[rows].T >= least - ROUNDING) & (clusters[:, None] != clusters[rows])
        same = near & (predicted[:, None] == predicted[rows])
        neighbours, alike = counts @ near.double(), counts @ same.double()
        own = counts[:, rows] * (neighbours > 0)
        shares += (own * alike / torch.where(neighbours > 0, neighbours, 1.0)).sum(1)
        counted += own.sum(1)
    return shares / counted


@metric("sufficiency", family="faithfulness", better="higher", range=(0, 1), undefined=("zero-map",), reduce=agreement,
        source="Dasgupta, Frost and Moshkovitz 2022, arXiv:2202.00734",
        limits={"grid": (1, None), "similarity": (-1, 1)},
        caveats=("Items that look alike are explained alike and predicted alike whatever the explainer: a map of the input's "
                 "edges can score well.",
                 "Depends on the similarity from which two maps count as alike, and on the items of the task.",
                 "Maps that are all alike score the share of items with the same prediction, whatever they show.",
                 "Place in the image is what is compared: two maps of one object in two places are not alike.",
                 "An explainer whose maps are never alike has no number."))
def sufficiency(case: Case, *, grid: int = 16, similarity: float = 0.9) -> Plan:
    """Mean share, over an item's neighbours, of those that have its predicted class (Dasgupta et al. 2022).

    A map is reduced to the means of grid x grid cells, divided by their 2-norm; two items of different clusters are
    neighbours where the scalar product is at least `similarity`. The number of the set is the mean over the items that
    have a neighbour. Range [0, 1], higher is better. Undefined for a map whose cell means are all zero. statistics
    float64 [B, 2 + grid*grid]: predicted class, similarity, reduced map.

    The paper asks whether an explanation holds for another item, whatever that item's own explanation is; for heat maps
    that is not defined, and a similar map stands in for it. A public library takes distances inside a batch, so that the
    score depends on the batch, and gives 0 to an item without a neighbour. similarity 0.9 is strict on purpose: lower down
    maps pass for alike that merely lie in the middle, and the number tends to that of maps which are all alike.
    """
    predicted = (yield case.unchanged("argmax"))[:, 0]
    of = cells(grid, *case.batch.space, device=case.map.device)
    flat = case.map.flatten(1).double()
    sums = torch.zeros(len(flat), grid * grid, dtype=torch.float64, device=flat.device).index_add_(1, of, flat)
    means = (sums / torch.bincount(of, minlength=grid * grid)).cpu()
    size = means.norm(dim=1)
    zero = size == 0
    vectors = means / torch.where(zero, torch.ones_like(size), size)[:, None]
    facts = torch.stack([predicted.double(), torch.full_like(predicted, similarity, dtype=torch.float64)], dim=1)
    return outcome(torch.full_like(size, float("nan")), {"zero-map": zero}, statistics=torch.cat([facts, vectors], 1))
