"""Faithfulness estimate: what the map gives to a group of positions against what the output loses without it alone."""

from itertools import pairwise
from typing import Literal

import torch
from torch.nn import functional as F

from vxp.core import Case, Plan, metric, outcome
from vxp.core.perturb import FILLS, cuts
from vxp.metrics._subsets import pearson


@metric("faithfulness-estimate", version=2, family="faithfulness", better="higher", range=(-1, 1),
        undefined=("constant-map", "zero-variance"), source="Alvarez-Melis and Jaakkola 2018, arXiv:1806.07538",
        limits={"steps": (2, None), "fill": FILLS, "readout": ("probability", "logit")},
        caveats=("Additive maps are favoured: a map that only ranks is judged by its scale.",
                 "A confident model's probability hardly falls, and a few groups decide the correlation.",
                 "A group of ranks is scattered over the image, and removing it changes a network's output little.",
                 "Evidence that is there twice is not missed."))
def faithfulness_estimate(
    case: Case, *, steps: int = 224, fill: str = "mean", readout: Literal["probability", "logit"] = "probability"
) -> Plan:
    """Correlation of the map's sum over a group of ranks with the drop of the probability (Alvarez-Melis and Jaakkola 2018).

    Group s holds the ranks k_s to k_(s+1) - 1, k_s = floor(s*P/S); every group is removed alone. Pearson's correlation
    over the S groups. Range [-1, 1], higher is better. Undefined for a constant map, and where the sums or the drops are
    all alike. `readout` logit reads the output before the softmax, as version 1 did. The source removes single features;
    groups of ranks keep the number of rows in bounds.
    """
    counts = cuts(steps, case.batch.positions)
    whole = yield case.unchanged(readout)
    without = yield case.removed_spans(list(pairwise(counts)), fill, readout=readout)
    ranked = case.map.flatten(1).double().gather(1, case.order)
    mass = F.pad(ranked.cumsum(1), (1, 0))[:, torch.tensor(counts, device=ranked.device)].diff(dim=1).cpu()
    value, still = pearson(mass, whole - without)
    return outcome(value, {"constant-map": case.constant, "zero-variance": still})
