"""What changed between an item and its counterfactual, and the facts that metrics of them share."""

from __future__ import annotations

import torch
from torch import Tensor

from vxp.core import Case, Held, Redrawn, VxpError
from vxp.core.perturb import own_levels
from vxp.kinds import KindId

KINDS: tuple[KindId, ...] = ("counterfactual",)
SEEN_ALONE = ("Never to be read alone: the smallest change that flips a model is adversarial noise, which nobody sees. Read it "
              "beside cf-semantic and cf-collateral where there are re-renderings, and look at the pictures where not.")


def change(case: Case) -> Tensor:
    """The counterfactual less the item in levels, int64 [B, C, H, W]."""
    return case.native.long() - own_levels(case.batch).long()


def unchanged(case: Case) -> Tensor:
    """bool [B]: counterfactuals that are their item, level for level."""
    return (change(case) == 0).flatten(1).all(1)


def foils(case: Case, metric: str) -> Tensor:
    """int64 [B]: the class that each counterfactual is to reach. VxpError where it is not known."""
    if case.batch.foils is None:
        raise VxpError(f"metric {metric!r} needs the class that a counterfactual is to reach, and these items have none: give "
                       "foils=, or take a task whose items have a foil")
    return case.batch.foils


def whole(case: Case) -> Redrawn:
    """The row that is the counterfactual."""
    return Redrawn(case.image("counterfactual", lambda: case.native))


def renderings(case: Case, key: str, metric: str) -> Tensor:
    """The truth of this key, [B, classes, ...]. VxpError names what is missing, and a foil that is no class of it."""
    if key not in case.batch.truth:
        raise VxpError(f"metric {metric!r} needs the truth {key}, and these items have "
                       f"{', '.join(case.batch.truth) or 'none'}: pass truth=, or leave the metric out")
    found = case.batch.truth[key]
    if int(foils(case, metric).max()) >= found.shape[1]:
        raise VxpError(f"metric {metric!r}: the foil is class {int(foils(case, metric).max())}, and the truth {key} has "
                       f"{found.shape[1]} classes, expected one for every class of the model")
    return found


def of_class(values: Tensor, classes: Tensor) -> Tensor:
    """Of values [B, classes, ...] those of one class each, [B, ...]."""
    return values[torch.arange(len(values), device=values.device), classes]


def held(case: Case, count: int, rank: Tensor, own: Tensor) -> Held:
    """The item with the counterfactual at the positions of the first `count` ranks; rank int64 [B, P]."""
    taken = (rank < count).view(len(rank), 1, *case.batch.space)
    return case.image(("inserted", count), lambda: torch.where(taken, case.native, own))
