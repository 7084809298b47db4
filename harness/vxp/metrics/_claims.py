"""Claims in words against what is causal by removal: the parts whose removal changes most what the model says."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vxp.core import Case, Edit, Limits, Plan, Rendered, Request, Unchanged, VxpError, outcome
from vxp.documents.words import Claim, Words
from vxp.kinds import decoded
from vxp.media import SEQUENCE
from vxp.metrics._fragment_rows import FILLS, UNIT, explained
from vxp.metrics._fragments import CONSTANT, changes
from vxp.metrics._regions import ROUNDING

SHOT, PART = "shot", "part"
"""The attribute of a claim of a fragment of a video, whose value is its number from 1, and of a part of an image, whose value
is its name."""
WITHOUT = "without"
"""The truth that shows an image without each of its parts."""
LIMITS: Limits = {"share": (0.0, 1.0), "fill": FILLS}
CAVEATS = ("Each part goes alone: of two that stand in for each other, such as shots of the same footage, neither is missed.",
           "Only claims of the pinned attribute and spelling are found: a cause that is told otherwise counts as wrong.",
           "The text is not read: a text that says the opposite of its claims is not noticed.")
Causes = list[tuple[str, str]]
Score = Callable[[Iterable[Claim], Causes], float | None]


@dataclass(frozen=True, eq=False)
class Removal:
    """What removal shows of the parts of items: their names as claims name them, and by how much the output changes without
    each, float64 [B, S]; by code the items of which that is not defined."""

    names: tuple[tuple[str, str], ...]
    effects: Tensor
    undefined: dict[str, Tensor]

    def causes(self, i: int, share: float) -> Causes:
        """The parts of an item whose effect is at least this share of the largest one, and above rounding."""
        effects = self.effects[i]
        least = max(share * float(effects.max()) - ROUNDING, ROUNDING)
        return [name for name, effect in zip(self.names, effects.tolist(), strict=True) if effect > least]


def scored(case: Case, share: float, fill: str, score: Score, undefined: str) -> Plan:
    """What a score of claims and causes gives, which is undefined, by this code, where it gives no number."""
    found = yield from removal(case, fill)
    values = [score(said.claims, found.causes(i, share)) for i, said in enumerate(words(case.native))]
    none = torch.tensor([value is None for value in values], dtype=torch.bool)
    numbers = torch.tensor([torch.nan if value is None else value for value in values], dtype=torch.float64)
    return outcome(numbers, {**found.undefined, undefined: none})


def words(rows: Tensor) -> list[Words]:
    """The explanations of bytes uint8 [B, n]."""
    return [decoded(row) for row in rows]


def removal(case: Case, fill: str) -> Generator[Request, Tensor, Removal]:
    """Of videos what the order of the scores loses without each fragment, 1 - tau_b; of images by how much the probability of
    the target falls without each part that the truth `without` leaves out. The rows depend on no explanation."""
    if case.batch.medium is SEQUENCE:
        return (yield from _of_fragments(case, fill))
    return (yield from _of_parts(case))


def _of_fragments(case: Case, fill: str) -> Generator[Request, Tensor, Removal]:
    S = case.batch.count_of(UNIT)
    level = torch.zeros(len(case.batch), S, dtype=torch.float64)  # words give no weights, and none are needed
    videos = yield from explained(case, level, fill, {}, UNIT)
    effects, undefined = changes(videos, "rank-order")
    return Removal(tuple((SHOT, str(k + 1)) for k in range(S)), effects, {CONSTANT: undefined[CONSTANT]})


def _of_parts(case: Case) -> Generator[Request, Tensor, Removal]:
    names = part_names(case.batch.concepts, case.batch.truth.get(WITHOUT))
    rows: list[Edit] = [Unchanged(), *(Rendered(WITHOUT, s) for s in range(len(names)))]
    found = yield Request(tuple(rows))
    found = found.cpu().double()
    return Removal(tuple((PART, name) for name in names), found[:, :1] - found[:, 1:], {})


def part_names(names: Sequence[str], without: Tensor | None) -> Sequence[str]:
    """The names of the parts that images are shown without; VxpError where the items have none, or not a name for each."""
    if without is None:
        raise VxpError("claims are judged by what removal shows, and these items are no videos and have no truth 'without', "
                       "which shows them without each part: take a task that has it, or leave the metric out")
    if without.shape[1] != len(names):
        raise VxpError(f"the items are shown without each of {without.shape[1]} parts, and {len(names)} parts have names: the "
                       "task's card lists them as its concepts, in the order of the truth 'without'")
    return names


__all__ = ["CAVEATS", "LIMITS", "PART", "SHOT", "WITHOUT", "Removal", "part_names", "removal", "scored", "words"]
