"""A rule of named concepts that says when the model says a class (clause [rules])."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vxp.documents import rules
from vxp.documents.rules import CAPACITY, Rule
from vxp.errors import VxpError
from vxp.kinds._documents import Document, packed, unpacked
from vxp.kinds._types import Items
from vxp.media import CLIP, IMAGE


@dataclass(frozen=True, eq=False)
class Rules(Document[Rule]):
    """The bytes uint8 [B, 4096] of a JSON document in UTF-8, a rule of concepts, and zeros behind it."""

    @property
    def expected(self) -> str:
        return "the bytes of a rule (vxp.kinds.ruled makes them)"

    def rows(self, some: Sequence[Rule]) -> Tensor:
        return ruled(some)

    def read(self, row: Tensor) -> Rule:
        return rule_of(row)

    def fits(self, said: Rule, batch: Items, where: str) -> None:
        unknown = sorted({literal.concept for some in said.alternatives for literal in some} - set(batch.concepts))
        if batch.concepts and unknown:
            raise VxpError(f"{where}: the rule names {', '.join(unknown)}, and the concepts of the task are "
                           f"{', '.join(batch.concepts)}")

    def stand_in(self, batch: Items) -> Tensor:
        return ruled([Rule(((),), 0)] * len(batch.inputs))


def ruled(some: Sequence[Rule]) -> Tensor:
    """The bytes uint8 [B, 4096] of rules; VxpError for one that is too long."""
    return packed([rules.canonical(one) for one in some], CAPACITY)


def rule_of(row: Tensor) -> Rule:
    """The rule of bytes uint8 [n]; VxpError where they are none."""
    return rules.of_bytes(unpacked(row))


RULES = Rules("rules", (IMAGE, CLIP))

__all__ = ["RULES", "Rules", "rule_of", "ruled"]
