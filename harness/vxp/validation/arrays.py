"""safetensors and Parquet from strangers: what headers claim is held against the bytes before anything is reserved."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import vxp_schemas

from vxp.documents.store import MAX_CELLS, PARQUET_LIMITS
from vxp.errors import VxpError

MAX_HEADER: Final = 2**20
MAX_TENSORS: Final = 1024
MAX_COLUMNS: Final = 2000
MAX_TEXTS: Final = 64 * 2**20
"""Bytes of the different texts of one column."""
MAX_TEXT: Final = 1024
"""Characters of one text of a table."""
MAX_GROUPS: Final = 10_000
"""Row groups of a table."""
MAX_TENSOR: Final = 512 * 2**20
"""Bytes of a tensor that is held whole, as of a shard."""
BLOCK: Final = 8 * 2**20
"""Bytes of maps that are held at once."""
DTYPES: Final[Mapping[str, np.dtype[Any]]] = {name: np.dtype(code) for name, code in (
    ("F16", "<f2"), ("F32", "<f4"), ("F64", "<f8"), ("I16", "<i2"), ("I32", "<i4"), ("I64", "<i8"), ("U8", "u1"))}


class Malformed(Exception):  # noqa: N818 (named for what the file is)
    """A file that is not what its kind promises: what was found and what was expected."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found)
        self.found, self.expected = found, expected


# ---------------------------------------------------------------------------------------------------------- safetensors


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file: bytes `start` to `stop` of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def tensors(stream: BinaryIO, size: int) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name. Malformed unless they fill the file without holes or overlaps."""
    if size < 8:
        raise Malformed(f"{size} bytes", "8 bytes of header length and a header")
    stream.seek(0)
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > min(MAX_HEADER, size - 8):
        raise Malformed(f"a header of {length} bytes in a file of {size}", f"at most {MAX_HEADER} bytes, inside the file")
    text = stream.read(length)
    try:
        header = vxp_schemas.loads(text)
    except vxp_schemas.SchemaError as error:
        raise Malformed(f"a header that is no strict JSON: {' '.join(str(error).split())[:300]}", "a JSON object") from None
    if not isinstance(header, dict):
        raise Malformed("a header that is no object", "a JSON object of tensors by name")
    if "__metadata__" in header:
        raise Malformed(f"__metadata__ of {len(str(header['__metadata__']))} characters", "tensors alone, since nothing "
                        "says what stands beside them")
    compact = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    if text != compact + b" " * (-len(compact) % 8):
        raise Malformed(f"a header of {length} bytes with other characters than its content needs", "JSON without white space, "
                        "filled up with spaces to a multiple of 8 bytes")
    if not header or len(header) > MAX_TENSORS:
        raise Malformed(f"{len(header)} tensors", f"1 to {MAX_TENSORS}")
    found = {name: _tensor(name, facts, 8 + length) for name, facts in header.items()}
    place = 8 + length
    for name, tensor in sorted(found.items(), key=lambda pair: (pair[1].start, pair[1].stop)):
        if tensor.start != place:
            raise Malformed(f"tensor {name!r} at byte {tensor.start}", f"byte {place}: no holes and no overlaps")
        place = tensor.stop
    if place != size:
        raise Malformed(f"{size} bytes", f"{place} bytes, as the header says")
    return found


def _tensor(name: str, facts: Any, base: int) -> Tensor:
    if not isinstance(facts, dict) or set(facts) != {"dtype", "shape", "data_offsets"}:
        raise Malformed(f"tensor {name!r} described by other fields", "dtype, shape and data_offsets")
    dtype, shape, offsets = facts["dtype"], facts["shape"], facts["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise Malformed(f"tensor {name!r} of dtype {dtype!r}", f"one of {', '.join(DTYPES)}")
    if not (_counts(shape) and len(shape) <= 8 and _counts(offsets) and len(offsets) == 2):
        raise Malformed(f"tensor {name!r} with shape {shape!r} and offsets {offsets!r}", "lists of counts")
    if not math.prod(shape):
        raise Malformed(f"tensor {name!r} of shape {shape}", "a tensor that holds values")
    # Python's integers do not overflow, whatever the shape claims
    if offsets[1] - offsets[0] != math.prod(shape) * DTYPES[dtype].itemsize:
        raise Malformed(f"tensor {name!r} of shape {shape} in {offsets[1] - offsets[0]} bytes",
                        f"{math.prod(shape) * DTYPES[dtype].itemsize} bytes")
    return Tensor(dtype, tuple(shape), base + offsets[0], base + offsets[1])


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in value)


def blocks(stream: BinaryIO, tensor: Tensor) -> Iterator[tuple[int, bytes, np.ndarray[Any, Any]]]:
    """The rows of a tensor in blocks of at most 8 MiB (or one row): first row, bytes, values."""
    rows, *shape = tensor.shape
    per_row = math.prod(shape) * DTYPES[tensor.dtype].itemsize
    step = max(1, BLOCK // max(per_row, 1))
    stream.seek(tensor.start)
    for first in range(0, rows, step):
        count = min(step, rows - first)
        data = stream.read(count * per_row)
        yield first, data, np.frombuffer(data, DTYPES[tensor.dtype]).reshape(count, *shape)


def values(stream: BinaryIO, tensor: Tensor) -> np.ndarray[Any, Any]:
    """A whole tensor."""
    stream.seek(tensor.start)
    return np.frombuffer(stream.read(tensor.stop - tensor.start), DTYPES[tensor.dtype]).reshape(tensor.shape)


# ----------------------------------------------------------------------------------------------------------------- tables

Column = Any
"""A column as read: a NumPy array, or for texts and bytes a list."""
TYPES: Final[Mapping[str, pa.DataType]] = {
    "int64": pa.int64(), "int32": pa.int32(), "int16": pa.int16(), "float32": pa.float32(), "float64": pa.float64(),
    "text": pa.string(), "32 bytes": pa.binary(32)}
ITEMS: Final[Mapping[str, str]] = {
    "row": "int64", "item_id": "text", "cluster": "text", "target": "int32", "target_source": "text", "prediction": "int32",
    "target_score": "float32", "explanation_id": "text", "repeat": "int16", "shard": "int32", "shard_row": "int64",
    "payload_digest": "32 bytes", "runtime_ms": "float32", "n_forwards": "int32", "n_backwards": "int32", "status": "text"}
SAMPLES: Final[Mapping[str, str]] = {"item_id": "text", "cluster": "text", "target": "int32", "explanation_id": "text",
                                     "repeat": "int16"}

REFERENCES: Final[Mapping[str, str]] = {"explainer": "text", "signature": "text", "item_id": "text", "cluster": "text",
                                        "value": "float64", "status": "text"}


def samples_columns(signatures: Sequence[str]) -> dict[str, str]:
    """The columns of samples.parquet for these scores."""
    return dict(SAMPLES) | {k: v for s in signatures for k, v in ((s, "float64"), (f"{s}#status", "text"))}


@dataclass(frozen=True, eq=False)
class Table:
    """A table whose columns are those of the standard; `empty` names the columns with empty cells and how many."""

    rows: int
    columns: Mapping[str, Column]
    empty: Mapping[str, int]

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]


def table(stream: BinaryIO, size: int, columns: Mapping[str, str], rows: int | None) -> Table:
    """A Parquet table of exactly these columns. Malformed for another; VxpError where a cap is passed.

    Caps are checked on the footer's claims first, then on what is unfolded, column by column.
    """
    stream.seek(0)
    if size < 12 or stream.read(4) != b"PAR1":
        raise Malformed("no Parquet magic bytes", "a Parquet file")
    try:
        return _table(stream, columns, rows)
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError, OverflowError) as error:
        raise Malformed(" ".join(str(error).split())[:300], "a Parquet file that can be read") from None
    except MemoryError:
        raise VxpError("the table does not fit the memory that is allowed") from None


def _table(stream: BinaryIO, columns: Mapping[str, str], rows: int | None) -> Table:
    file = pq.ParquetFile(pa.PythonFile(stream, mode="r"), **PARQUET_LIMITS)
    facts = file.metadata
    if facts.num_columns > MAX_COLUMNS or max(facts.num_rows, 0) * facts.num_columns * 8 > MAX_CELLS:
        raise VxpError(f"{facts.num_rows} rows of {facts.num_columns} columns; at most {MAX_COLUMNS} columns and "
                       f"{MAX_CELLS} bytes of cells")
    if facts.num_row_groups > MAX_GROUPS:
        raise VxpError(f"{facts.num_row_groups} row groups; at most {MAX_GROUPS}")
    schema = file.schema_arrow
    for name, kind in columns.items():
        places = schema.get_all_field_indices(name)
        if len(places) != 1:
            raise Malformed(f"{len(places)} columns {name!r}", f"one column {name!r} of {kind}")
        given = schema.field(places[0]).type
        given = given.value_type if pa.types.is_dictionary(given) else given
        if given != TYPES[kind] and not (kind == "text" and given == pa.large_string()):
            raise Malformed(f"column {name!r} of {given}", f"{kind}")
    unknown = [name for name in schema.names if name not in columns]
    if unknown:
        raise Malformed(f"the columns {', '.join(ascii(n) for n in unknown[:5])}", "only columns of the standard")
    if rows is not None and facts.num_rows != rows:
        raise Malformed(f"{facts.num_rows} rows", f"{rows} rows, as its descriptor says")
    texts = [name for name, kind in columns.items() if kind == "text"]
    stream.seek(0)
    file = pq.ParquetFile(pa.PythonFile(stream, mode="r"), read_dictionary=texts, **PARQUET_LIMITS)
    found: dict[str, Column] = {}
    empty: dict[str, int] = {}
    for name, kind in columns.items():
        column = _column(file, name)
        if len(column) != facts.num_rows:
            raise Malformed(f"{len(column)} rows in column {name!r}", f"{facts.num_rows} rows, as the footer says")
        if column.null_count:
            empty[name] = column.null_count
        found[name] = _texts(column, name) if kind == "text" else _plain(column, kind)
    return Table(facts.num_rows, found, empty)


def _column(file: pq.ParquetFile, name: str) -> pa.ChunkedArray:
    """A column, read by row groups, so that what a file unfolds to is counted before the next is read."""
    chunks: list[pa.Array] = []
    unfolded = 0
    for number in range(file.metadata.num_row_groups):
        # by name: a reader also gives columns whose names go on after a point
        part = file.read_row_group(number, columns=[name], use_threads=False).column(name)
        unfolded += sum(c.dictionary.nbytes if pa.types.is_dictionary(c.type) else c.nbytes for c in part.chunks)
        if unfolded > max(MAX_TEXTS, 32 * file.metadata.num_rows):
            raise VxpError(f"column {name!r} unfolds to more than {MAX_TEXTS} bytes")
        chunks += part.chunks
    if not chunks:
        return pa.chunked_array([], file.schema_arrow.field(name).type)
    return pa.chunked_array(chunks)


def _texts(column: pa.ChunkedArray, name: str) -> list[str | None]:
    unfolded: list[str | None] = []
    bytes_ = 0
    for chunk in column.chunks:
        words = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
        bytes_ += words.nbytes
        if bytes_ > MAX_TEXTS:
            raise VxpError(f"column {name!r} holds {bytes_} bytes of different texts; at most {MAX_TEXTS}")
        known = words.to_pylist()
        longest = max((len(word) for word in known if word is not None), default=0)
        if longest > MAX_TEXT:
            raise VxpError(f"column {name!r} holds a text of {longest} characters; at most {MAX_TEXT}")
        if not pa.types.is_dictionary(chunk.type):
            unfolded += known
            continue
        if chunk.indices.null_count == 0 and len(chunk):
            places = chunk.indices.to_numpy()
            if int(places.min()) < 0 or int(places.max()) >= len(known):
                raise Malformed(f"column {name!r} with an entry outside of its dictionary", "a Parquet file that can be read")
        unfolded += [None if i is None else known[i] for i in chunk.indices.to_pylist()]
    return unfolded


def _plain(column: pa.ChunkedArray, kind: str) -> Column:
    if kind == "32 bytes":
        return column.to_pylist()
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if kind.startswith("int"):
        array = array.fill_null(0)
    return array.to_numpy(zero_copy_only=False)
