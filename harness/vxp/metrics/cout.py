"""COUT, the counterfactual transition: how soon the foil takes over as the change is inserted."""

import torch
from torch.nn import functional as F

from vxp.core import Case, Plan, Redrawn, Request, Unchanged, metric, outcome
from vxp.core.perturb import cuts, own_levels, trapezoid
from vxp.metrics._counterfactual import KINDS, SEEN_ALONE, change, foils, held, unchanged, whole


@metric("cout", family="counterfactual", better="higher", range=(-1, 1), kinds=KINDS, undefined=("unchanged",),
        source="Khorram and Fuxin 2022, arXiv:2203.15064", limits={"steps": (1, None)},
        axis="share of positions taken from the counterfactual",
        caveats=(SEEN_ALONE,
                 "It rewards a change that is sparse and strong: an attack of few pixels scores above the true counterfactual.",
                 "Half-inserted images are like no image of the data."))
def cout(case: Case, *, steps: int = 28) -> Plan:
    """Area under the foil's probability less that under the target's, while positions are taken from the counterfactual, those
    of the largest change first (Khorram and Fuxin 2022).

    The change at a position is the sum over channels of the absolute differences in levels; of equal ones the smallest index
    goes first. Range [-1, 1], higher is better. Undefined where the counterfactual is the item, of which the published form is
    0/0.
    """
    batch, foil = case.batch, foils(case, "cout")
    counts = cuts(steps, batch.positions)
    ranked = change(case).abs().sum(1).flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(ranked).scatter_(1, ranked, torch.arange(batch.positions, device=ranked.device).expand_as(ranked))
    own = own_levels(batch)
    between = (Redrawn(held(case, count, rank, own)) for count in counts[1:-1])
    logits = yield Request((Unchanged(), *between, whole(case)), readout="output")
    said = F.log_softmax(logits.double(), dim=2).exp()
    of_foil, of_target = (said.gather(2, _places(classes, said)) for classes in (foil, batch.targets))
    curve = (of_foil - of_target)[..., 0]
    return outcome(trapezoid(curve, counts), {"unchanged": unchanged(case)}, curve=curve,
                   x=[count / counts[-1] for count in counts])


def _places(classes: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
    """Classes [B] as the places [B, K, 1] to read of [B, K, D]."""
    return classes.to(said.device).view(-1, 1, 1).expand(-1, said.shape[1], 1)
