"""What a summariser says of a video without some of its fragments, or of the objects in it: the rows that metrics of these
read.

Without one fragment alone a row depends on no explanation, so all of them share it, and it is looked up by rank here. Without
several it depends on the order in which they go.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vxp.core import Case, Edit, Held, Piece, Plan, Removed, Request, Unchanged, VxpError, Without, outcome
from vxp.media import SEQUENCE, Shortened
from vxp.metrics._fragments import ALIKE, FEW, End, Found, Fragments, together
from vxp.metrics._regions import falling
from vxp.metrics._time import alike

FILLS = tuple(SEQUENCE.fills)
"""The fills of sequences."""
UNIT = "fragment"
Several = tuple[End, int]
"""So many fragments of an end, together."""


@dataclass(frozen=True)
class Of:
    """What goes: the unit of the parts, the code of items with too few of them, and whether their weights only rank them."""

    unit: str = UNIT
    few: str = FEW
    ranked: bool = True


FRAGMENTS = Of()


@dataclass(frozen=True, eq=False)
class Known:
    """Scores of the frames without each fragment alone, float64 [B, S, n], and without several of an end, [B, n]; weights
    [B, S] give the order."""

    weights: Tensor
    alone: Tensor
    several: dict[Several, Tensor]

    def __call__(self, removed: Tensor) -> Tensor:
        """Scores [B, R, n] without fragments [B, R, S]; VxpError for a row that was not run."""
        return torch.stack([self._row(gone) for gone in removed.unbind(1)], 1)

    def _row(self, gone: Tensor) -> Tensor:
        if bool((gone.sum(1) == 1).all()):
            return self.alone[torch.arange(len(gone)), gone.int().argmax(1)]
        for (end, count), scores in self.several.items():
            if torch.equal(gone, together(self.weights, [count], end)[:, 0]):
                return scores
        raise VxpError(f"no row without these fragments was run: {gone.tolist()}")


def scored(
    case: Case, fill: str, score: Callable[[Fragments], Found], *, needed: int, several: Sequence[Several] = (),
    of: Of = FRAGMENTS,
) -> Plan:
    """What a function of explained videos gives, and the rows that it takes: without each fragment, or object, alone, and
    without several together.

    Undefined, and nothing runs, where the items have fewer of them than are needed; and, where the weights only rank, where all
    weights of an item are equal.
    """
    weights = case.weights(of.unit).cpu()
    if weights.shape[1] < needed:
        none = torch.full((len(weights),), torch.nan, dtype=torch.float64)
        return outcome(none, {of.few: none.isnan()})
    videos = yield from explained(case, weights, fill, dict.fromkeys(several), of.unit)
    values, undefined = score(videos)
    return outcome(values, {**({ALIKE: alike(weights)} if of.ranked else {}), **undefined})


def explained(
    case: Case, weights: Tensor, fill: str, several: dict[Several, None], unit: str
) -> Generator[Request, Tensor, Fragments]:
    """The videos with what their scores become, of one request. The order of the explanation is asked for several alone."""
    S = weights.shape[1]
    wanted = [one for one in several if one[1] > 1]  # the first alone is among the rows of all
    edits: list[Edit] = [Unchanged()]
    edits += [Without(Piece(unit, k), fill) for k in range(S)]
    if wanted:
        order = ordered(case, unit)
        edits += [Removed(order, *((0, k) if end == "most" else (S - k, S)), fill) for end, k in wanted]
    found = yield Request(tuple(edits), readout="output")
    found = found.cpu()
    known = Known(weights, found[:, 1 : 1 + S], dict(zip(wanted, found[:, 1 + S :].unbind(1), strict=True)))
    shorter = isinstance(case.batch.medium.fill(fill), Shortened)
    return Fragments(weights, found[:, 0], known, case.batch.parts_of(unit).cpu() if shorter else None)


def ordered(case: Case, unit: str) -> Held:
    """The order in which fragments or objects go, by weight; what belongs to no object stays."""
    def ranks() -> Tensor:
        rank, of = falling(case.weights(unit)), case.batch.parts_of(unit)
        ranked = rank.gather(1, of.clamp_min(0).to(rank.device)).masked_fill(of < 0, rank.shape[1])
        return ranked.repeat_interleave(case.batch.positions // of.shape[1], dim=1)

    return case.grouped(f"{unit}s", ranks)


__all__ = ["FILLS", "UNIT", "Of", "Several", "explained", "scored"]
