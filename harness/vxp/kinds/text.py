"""An explanation in words, with what it claims (clause [text])."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vxp.documents import words
from vxp.documents.words import Words
from vxp.errors import VxpError
from vxp.kinds._types import Items, Kind
from vxp.media import CLIP, IMAGE, SEQUENCE

CAPACITY = words.CAPACITY


@dataclass(frozen=True, eq=False)
class Text(Kind):
    """The bytes uint8 [B, CAPACITY] of a JSON document in UTF-8, a text and its claims, and zeros behind it."""

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8

    @property
    def expected(self) -> str:
        return "the bytes of a text and its claims (vxp.kinds.encoded makes them)"

    def checked(self, found: Tensor | Sequence[Words], batch: Items, by: str) -> Tensor:
        given = found if isinstance(found, Tensor) else encoded(found).to(batch.inputs.device)
        made = super().checked(given, batch, by)
        for i, row in enumerate(made):
            try:
                decoded(row)
            except VxpError as error:
                raise VxpError(f"{by}: item {i}: {error}") from None
        return made

    def stand_in(self, batch: Items) -> Tensor:
        return encoded([Words("nothing")] * len(batch.inputs))


def encoded(some: Sequence[Words]) -> Tensor:
    """The bytes uint8 [B, CAPACITY] of texts with their claims; VxpError for one that is too long."""
    found = torch.zeros(len(some), CAPACITY, dtype=torch.uint8)
    for row, one in zip(found, some, strict=True):
        data = words.canonical(one)
        if len(data) > CAPACITY:
            raise VxpError(f"a text with its claims takes {len(data)} bytes, expected at most {CAPACITY}: say less")
        row[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return found


def decoded(row: Tensor) -> Words:
    """The text and the claims of bytes uint8 [CAPACITY]; VxpError where they are none."""
    return words.of_bytes(bytes(row.cpu().tolist()))


TEXT = Text("text", (IMAGE, CLIP, SEQUENCE))

__all__ = ["CAPACITY", "TEXT", "Text", "decoded", "encoded"]
