"""Kinds of which an explanation is a JSON document: its bytes in a row of a tensor, zeros behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from vxp.errors import VxpError
from vxp.kinds._types import Items, Kind

Content = TypeVar("Content")


@dataclass(frozen=True, eq=False)
class Document(Kind, Generic[Content]):
    """The bytes uint8 [B, n] of a JSON document in UTF-8, and zeros behind it. An explainer may return what the documents
    say."""

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8

    def checked(self, found: Tensor | Sequence[Content], batch: Items, by: str) -> Tensor:
        given = found if isinstance(found, Tensor) else self.rows(found).to(batch.inputs.device)
        made = super().checked(given, batch, by)
        for i, row in enumerate(made):
            try:
                said = self.read(row)
            except VxpError as error:
                raise VxpError(f"{by}: item {i}: {error}") from None
            self.fits(said, batch, f"{by}: item {i}")
        return made

    def rows(self, some: Sequence[Content]) -> Tensor:
        """The bytes of what documents say; VxpError for one that is too long."""
        raise NotImplementedError

    def read(self, row: Tensor) -> Content:
        """What the document of bytes uint8 [n] says; VxpError where they are none."""
        raise NotImplementedError

    def fits(self, said: Content, batch: Items, where: str) -> None:
        """VxpError, which begins with `where`, for a document that is none of these items."""


def packed(documents: Sequence[bytes], capacity: int) -> Tensor:
    """uint8 [B, capacity] of documents that are not longer."""
    found = torch.zeros(len(documents), capacity, dtype=torch.uint8)
    for row, data in zip(found, documents, strict=True):
        row[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return found


def unpacked(row: Tensor) -> bytes:
    """The bytes of a row, with the zeros behind them."""
    return bytes(row.cpu().tolist())


__all__ = ["Document", "packed", "unpacked"]
