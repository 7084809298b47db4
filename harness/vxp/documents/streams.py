"""Files that are written part by part, for what is larger than memory: arrays and tables that appear whole or not at all."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from vxp.documents import store
from vxp.errors import VxpError

if TYPE_CHECKING:
    from torch import Tensor

BYTES: Mapping[str, int] = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "I16": 2, "U8": 1, "I8": 1, "BOOL": 1}
"""Bytes of a value, by its type as safetensors calls it."""


@dataclass(frozen=True)
class Array:
    """A tensor of a file: its type as safetensors calls it, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def like(cls, rows: Tensor, n: int) -> Array:
        """Of n rows like these."""
        return cls(dtype_of(rows), (n, *rows.shape[1:]))

    @property
    def row_bytes(self) -> int:
        return prod(self.shape[1:]) * BYTES[self.dtype]


def dtype_of(tensor: Tensor) -> str:
    import torch

    names = {torch.float64: "F64", torch.int64: "I64", torch.float32: "F32", torch.int32: "I32", torch.int16: "I16",
             torch.uint8: "U8", torch.int8: "I8", torch.bool: "BOOL"}
    return names[tensor.dtype]


class Arrays:
    """The tensors of a safetensors file, whose rows are written in any order."""

    def __init__(self, file: BinaryIO, arrays: Mapping[str, Array]) -> None:
        header: dict[str, object] = {}
        self.file, self.arrays, self.starts = file, arrays, dict[str, int]()
        place = 0
        # in the library's own order: wide types first, then by name
        for name, array in sorted(arrays.items(), key=lambda pair: (-BYTES[pair[1].dtype], pair[0])):
            size = prod(array.shape) * BYTES[array.dtype]
            header[name] = {"dtype": array.dtype, "shape": list(array.shape), "data_offsets": [place, place + size]}
            self.starts[name] = place
            place += size
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        file.write(struct.pack("<Q", len(text)) + text)
        self.data = 8 + len(text)
        file.truncate(self.data + place)

    def write(self, name: str, first: int, rows: Tensor) -> None:
        """Rows from this one on; VxpError where they are of another type or shape than was said."""
        array = self.arrays[name]
        if (dtype_of(rows), tuple(rows.shape[1:])) != (array.dtype, array.shape[1:]) or first + len(rows) > array.shape[0]:
            raise VxpError(f"{name}: got rows {first} to {first + len(rows)} {dtype_of(rows)} {list(rows.shape[1:])}, expected "
                           f"{array.dtype} {list(array.shape)}")
        self.file.seek(self.data + self.starts[name] + first * array.row_bytes)
        self.file.write(rows.detach().cpu().contiguous().numpy().tobytes())


@contextlib.contextmanager
def arrays(path: Path, said: Mapping[str, Array]) -> Iterator[Arrays]:
    """A safetensors file to be written by rows."""
    with store.appearing(path) as file:
        yield Arrays(file, said)


class Table:
    """A Parquet table that is written in groups of rows."""

    def __init__(self, file: BinaryIO, group: int) -> None:
        self.file, self.group = file, group
        self.writer: pq.ParquetWriter | None = None
        self.parts: list[pa.Table] = []

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        """Further rows."""
        self.parts.append(pa.table(dict(columns)))
        if sum(map(len, self.parts)) >= self.group:
            whole = pa.concat_tables(self.parts)
            for start in range(0, len(whole) - len(whole) % self.group, self.group):
                self._write(whole.slice(start, self.group))
            rest = whole.slice(len(whole) - len(whole) % self.group)
            self.parts = [rest] if len(rest) else []

    def close(self) -> None:
        if self.parts:
            self._write(pa.concat_tables(self.parts).combine_chunks())
        if self.writer is not None:
            self.writer.close()

    def _write(self, rows: pa.Table) -> None:
        if self.writer is None:
            self.writer = pq.ParquetWriter(self.file, rows.schema, **store.packing(rows.schema))
        self.writer.write_table(rows, row_group_size=self.group)


@contextlib.contextmanager
def table(path: Path, group: int) -> Iterator[Table]:
    """A Parquet file to be written by rows, so many of them to a group."""
    with store.appearing(path) as file:
        rows = Table(file, group)
        yield rows
        rows.close()


__all__ = ["Array", "Arrays", "Table", "arrays", "dtype_of", "table"]
