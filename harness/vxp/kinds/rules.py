"""A rule of named concepts that says when the model says a class (clause [rules])."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vxp.documents import rules
from vxp.documents.rules import CAPACITY, Rule
from vxp.errors import VxpError
from vxp.kinds._types import Items, Kind
from vxp.media import CLIP, IMAGE


@dataclass(frozen=True, eq=False)
class Rules(Kind):
    """The bytes uint8 [B, 4096] of a JSON document in UTF-8, a rule of concepts, and zeros behind it."""

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8

    @property
    def expected(self) -> str:
        return "the bytes of a rule (vxp.kinds.ruled makes them)"

    def checked(self, found: Tensor | Sequence[Rule], batch: Items, by: str) -> Tensor:
        given = found if isinstance(found, Tensor) else ruled(found).to(batch.inputs.device)
        made = super().checked(given, batch, by)
        for i, row in enumerate(made):
            try:
                rule = rule_of(row)
            except VxpError as error:
                raise VxpError(f"{by}: item {i}: {error}") from None
            unknown = sorted({literal.concept for some in rule.alternatives for literal in some} - set(batch.concepts))
            if batch.concepts and unknown:
                raise VxpError(f"{by}: item {i}: the rule names {', '.join(unknown)}, and the concepts of the task are "
                               f"{', '.join(batch.concepts)}")
        return made

    def stand_in(self, batch: Items) -> Tensor:
        return ruled([Rule(((),), 0)] * len(batch.inputs))


def ruled(some: Sequence[Rule]) -> Tensor:
    """The bytes uint8 [B, 4096] of rules; VxpError for one that is too long."""
    found = torch.zeros(len(some), CAPACITY, dtype=torch.uint8)
    for row, one in zip(found, some, strict=True):
        data = rules.canonical(one)
        row[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return found


def rule_of(row: Tensor) -> Rule:
    """The rule of bytes uint8 [n]; VxpError where they are none."""
    return rules.of_bytes(bytes(row.cpu().tolist()))


RULES = Rules("rules", (IMAGE, CLIP))

__all__ = ["RULES", "Rules", "rule_of", "ruled"]
