"""An explanation in words, with what it claims (clause [text])."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vxp.documents import words
from vxp.documents.words import Words
from vxp.errors import VxpError
from vxp.kinds._documents import Document, packed, unpacked
from vxp.kinds._types import Items
from vxp.media import CLIP, IMAGE, SEQUENCE

CAPACITY = words.CAPACITY


@dataclass(frozen=True, eq=False)
class Text(Document[Words]):
    """The bytes uint8 [B, CAPACITY] of a JSON document in UTF-8, a text and its claims, and zeros behind it."""

    @property
    def expected(self) -> str:
        return "the bytes of a text and its claims (vxp.kinds.encoded makes them)"

    def rows(self, some: Sequence[Words]) -> Tensor:
        return encoded(some)

    def read(self, row: Tensor) -> Words:
        return decoded(row)

    def stand_in(self, batch: Items) -> Tensor:
        return encoded([Words("nothing")] * len(batch.inputs))


def encoded(some: Sequence[Words]) -> Tensor:
    """The bytes uint8 [B, CAPACITY] of texts with their claims; VxpError for one that is too long."""
    found = [words.canonical(one) for one in some]
    for data in found:
        if len(data) > CAPACITY:
            raise VxpError(f"a text with its claims takes {len(data)} bytes, expected at most {CAPACITY}: say less")
    return packed(found, CAPACITY)


def decoded(row: Tensor) -> Words:
    """The text and the claims of bytes uint8 [CAPACITY]; VxpError where they are none."""
    return words.of_bytes(unpacked(row))


TEXT = Text("text", (IMAGE, CLIP, SEQUENCE))

__all__ = ["CAPACITY", "TEXT", "Text", "decoded", "encoded"]
