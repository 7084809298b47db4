"""Files of a run: written to a temporary name, synced and renamed, and read back against their digest. What reads or writes
tensors imports torch itself, and what reads or writes tables pyarrow: whoever only reads documents does without."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import vxp_schemas
from vxp_schemas import typed

from vxp import clock
from vxp.errors import NotWrittenError, VxpError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

T = TypeVar("T")
SAFETENSORS = "application/vnd.safetensors"
PARQUET = "application/vnd.apache.parquet"
JSON = "application/json"
SHARD_ROWS = 8192
"""Rows of a payload shard at most (and 512 MiB)."""
SHARD_BYTES = 512 * 2**20
MAX_JSON = 16 * 2**20
"""Bytes of a document."""
MAX_ARRAYS = 2 * 2**30
"""Bytes of a table, or of a result's curves or statistics."""
PARQUET_LIMITS = {"thrift_string_size_limit": 2**24, "thrift_container_size_limit": 10**6}
"""What the footer of a table may claim."""
MAX_CELLS = 2 * 2**30
"""Rows x columns x 8 bytes of a table, and bytes of one of its columns of texts."""


# ---------------------------------------------------------------------------------------------------------- whole files


@contextlib.contextmanager
def appearing(path: Path, said: str = "") -> Iterator[BinaryIO]:
    """A file under a temporary name beside its own, synced and renamed where the block ends well, and else removed. said: what
    an error says behind the name."""
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
        _sync_folder(path.parent)
    except OSError as error:
        raise NotWrittenError(f"could not write {path}{said}: {error.strerror}. Nothing half-written is left; make room or "
                              "choose another --out and run the same command again: finished units are kept") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a crash."""
    with appearing(path, f" ({len(data)} bytes)") as file:
        file.write(data)


def copy(source: Path, target: Path) -> None:
    """The same with the bytes of another file, which are not held in memory."""
    with appearing(target) as file, source.open("rb") as given:
        shutil.copyfileobj(given, file)


@contextlib.contextmanager
def whole(target: Path) -> Iterator[None]:
    """For what is written beside its place and then renamed: an OSError within is a NotWrittenError that names the target."""
    try:
        yield
    except OSError as error:
        raise NotWrittenError(f"could not write {target}: {error.strerror}. Nothing half-written is left") from error


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Holds a lock file; VxpError where another process holds it. However a process ends, its lock is free again."""
    with whole(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VxpError(f"another run is writing to {lock.parent.parent}: wait for it and repeat the command, or choose "
                           "another --out") from None
        yield
    finally:
        os.close(handle)


def beside(path: Path, suffix: str) -> Path:
    """The file beside another, or beside a folder, with more at the end of its name; also of the folder that one stands in."""
    named = path if path.name not in ("", "..") else Path(os.path.abspath(path))
    return named.with_name(f"{named.name}{suffix}")


def outside(bundle: Path, out: Path) -> None:
    """VxpError where a file to be written lies in the bundle that it is about."""
    if bundle.is_dir() and bundle.resolve() in out.resolve().parents:
        raise VxpError(f"{out} lies in the bundle, which is never changed: choose a place beside it")


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Validate a document by its schema and write it as JSON."""
    vxp_schemas.validate(document)
    write_bytes(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def read_file(path: Path, limit: int = MAX_JSON) -> bytes:
    """The bytes of a regular file of at most `limit` bytes, whoever laid it there: a pipe or a device is not waited for, and
    what a hole claims is not reserved. FileNotFoundError where nothing is; VxpError for anything else."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise VxpError(f"{path}: {error.strerror}; expected a file") from None
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > limit:
        os.close(handle)
        got = f"{facts.st_size} bytes" if stat.S_ISREG(facts.st_mode) else "no regular file"
        raise VxpError(f"{path}: got {got}, expected a file of at most {limit} bytes")
    with os.fdopen(handle, "rb") as file:
        return file.read(limit)


def read_document(path: Path, kind: type[T]) -> T:
    """Read and validate a document of a type of vxp_schemas.typed; VxpError names the file and all its faults."""
    try:
        return vxp_schemas.valid(vxp_schemas.loads(read_file(path)), kind)
    except FileNotFoundError:
        raise VxpError(f"{path} does not exist: expected a document of a VXP run or explanation set there") from None
    except ValueError as error:
        raise VxpError(f"{path}: {error}") from error


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def descriptor(path: Path, root: Path, media_type: str, rows: int | None = None) -> typed.Descriptor:
    """What another document says of a file: media type, path from the root, size, digest and rows."""
    found: typed.Descriptor = {"mediaType": media_type, "path": path.relative_to(root).as_posix(),
                               "size": path.stat().st_size, "digest": vxp_schemas.file_digest(path)}
    return found if rows is None else {**found, "rows": rows}


def read_described(root: Path, described: typed.Descriptor) -> bytes:
    """The bytes of a described file; VxpError where size or digest differ."""
    path = root / str(described["path"])
    try:
        data = read_file(path, MAX_ARRAYS)
    except FileNotFoundError:
        raise VxpError(f"{path} is missing; expected {described['size']} bytes with {described['digest']}") from None
    if digest(data) != described["digest"]:
        raise VxpError(f"{path} is damaged or was changed: got {len(data)} bytes with {digest(data)}, expected "
                       f"{described['size']} bytes with {described['digest']}. Delete it and run the same command again, "
                       "or take the file from a backup")
    return data


def read_described_table(root: Path, described: typed.Descriptor) -> pa.Table:
    """The table of a described file; VxpError where size or digest differ, or where it unfolds to too much."""
    data = read_described(root, described)
    try:
        return read_table(data)
    except VxpError as error:
        raise VxpError(f"{root / str(described['path'])}: {error}") from None


def check_described(root: Path, described: typed.Descriptor) -> None:
    """Compare a file with its descriptor without holding it in memory; VxpError where they differ."""
    path = root / str(described["path"])
    if not path.is_file():
        raise VxpError(f"{path} is missing; expected {described['size']} bytes with {described['digest']}")
    if path.stat().st_size != described["size"]:
        raise VxpError(f"{path} has {path.stat().st_size} bytes, expected {described['size']} with {described['digest']}. Run "
                       "the same command again, or take the file from a backup")
    found = vxp_schemas.file_digest(path)
    if found != described["digest"]:
        raise VxpError(f"{path} is damaged or was changed: got {found}, expected {described['digest']}. Run the same command "
                       "again, or take the file from a backup")


# ------------------------------------------------------------------------------------------------------- units of work


@dataclass(frozen=True)
class Units:
    """The finished units of a run: a safetensors file each, with a digest beside it that is written last."""

    folder: Path

    @clock.stage("files")
    def load(self, name: str) -> tuple[dict[str, Tensor], Any] | None:
        """Tensors and notes of a finished unit, None if it is not finished; VxpError if it is damaged."""
        import safetensors.torch

        path = self.folder / f"{name}.safetensors"
        mark = path.with_suffix(".sha256")
        if not mark.exists():
            return None
        expected = mark.read_text().strip()
        data = path.read_bytes() if path.exists() else b""
        if digest(data) != expected:
            raise VxpError(f"unit of work {path} is damaged: got {len(data)} bytes with {digest(data)}, expected "
                           f"{expected}. Delete {mark} and run the same command again: only this unit is done again")
        tensors = safetensors.torch.load(data)
        notes = json.loads(bytes(tensors.pop("notes").tolist()))
        return tensors, notes

    def head(self, name: str) -> tuple[Any, dict[str, tuple[str, list[int]]]] | None:
        """The notes of a finished unit, and the type and shape of its tensors, which are not read; None if it is not
        finished."""
        import safetensors

        path = self.folder / f"{name}.safetensors"
        if not self.done(name):
            return None
        try:
            with safetensors.safe_open(path, "pt") as file:
                slices = {key: file.get_slice(key) for key in file.keys() if key != "notes"}  # noqa: SIM118
                shapes = {key: (found.get_dtype(), list(found.get_shape())) for key, found in slices.items()}
                return json.loads(bytes(file.get_tensor("notes").tolist())), shapes
        except (OSError, ValueError, safetensors.SafetensorError):
            self.load(name)  # says what is wrong with it
            raise

    def missing(self, name: str) -> VxpError:
        """What is said of a unit that is needed and not finished."""
        return VxpError(f"the unit {name} of {self.folder.parent} is missing: run the same command again")

    def done(self, name: str) -> bool:
        """Whether a unit is finished."""
        return (self.folder / f"{name}.sha256").exists()

    def drop(self, name: str) -> None:
        """Remove finished units of this name and below: what they hold is somewhere else."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    @clock.stage("files")
    def save(self, name: str, tensors: Mapping[str, Tensor], notes: Any) -> None:
        """Write a unit whole; it counts as finished only once its digest is there."""
        import safetensors.torch
        import torch

        text = torch.tensor(list(json.dumps(notes).encode()), dtype=torch.uint8)
        whole = {k: v.detach().cpu().contiguous() for k, v in tensors.items()} | {"notes": text}
        data = safetensors.torch.save(whole)
        path = self.folder / f"{name}.safetensors"
        write_bytes(path, data)
        write_bytes(path.with_suffix(".sha256"), digest(data).encode())


# ------------------------------------------------------------------------------------------------------ tables, arrays


def write_table(path: Path, columns: Mapping[str, pa.Array]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    whole = pa.table(dict(columns))
    pq.write_table(whole, sink, **packing(whole.schema))
    write_bytes(path, sink.getvalue().to_pybytes())


def packing(schema: pa.Schema) -> dict[str, Any]:
    """How the columns of a table are packed."""
    import pyarrow as pa

    # float64 scores hardly repeat: a dictionary of them is larger than they are, and split into bytes they pack better
    numbers = [field.name for field in schema if field.type == pa.float64()]
    return {"compression": "zstd", "use_dictionary": [name for name in schema.names if name not in numbers],
            "column_encoding": dict.fromkeys(numbers, "BYTE_STREAM_SPLIT")}


def read_table(data: bytes) -> pa.Table:
    """A table of these bytes; VxpError where it is none, or unfolds to more than MAX_CELLS."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer = pq.ParquetFile(pa.BufferReader(data), **PARQUET_LIMITS)
        facts, schema = footer.metadata, footer.schema_arrow
        if max(facts.num_rows, 0) * facts.num_columns * 8 > MAX_CELLS:
            raise VxpError(f"a table of {facts.num_rows} rows and {facts.num_columns} columns; expected at most {MAX_CELLS} "
                           "bytes of cells")
        texts = [field.name for field in schema if field.type in (pa.string(), pa.binary())]
        # words stay apart from the rows that say them until their bytes are counted
        table = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts, **PARQUET_LIMITS).read()
        for name in texts:
            column = table[name].unify_dictionaries()
            words = column.chunk(0).dictionary if column.num_chunks else pa.array([], pa.string())
            longest = max((len(word) for word in words.to_pylist() if word is not None), default=0)
            if longest * len(table) > MAX_CELLS:
                raise VxpError(f"the column {name!r} unfolds to {longest * len(table)} bytes; expected at most {MAX_CELLS}")
        return table.cast(schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise VxpError(f"a table that cannot be read: {' '.join(str(error).split())[:300]}") from None


@dataclass(frozen=True)
class Maps:
    """The payload [N, *grid] of a set, read by rows; every shard is checked against its digest before its first row is read.
    Scores of parts are stored at the length of the longest row, and read at their own."""

    root: Path
    shards: Sequence[typed.SetShard]
    checked: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return sum(shard["rows"] for shard in self.shards)

    def check(self) -> None:
        """VxpError where a shard is damaged."""
        for shard in self.shards:
            self._check(shard)

    def _check(self, shard: typed.SetShard) -> None:
        if shard["descriptor"]["path"] not in self.checked:
            check_described(self.root, shard["descriptor"])
            self.checked.add(shard["descriptor"]["path"])

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows start to stop [n, *grid]; VxpError where scores of parts have different lengths."""
        import torch

        rows = torch.cat(self._of_shards("values", start, stop))
        if "lengths" not in self.shards[0]["tensors"]:
            return rows
        lengths = torch.cat(self._of_shards("lengths", start, stop)).tolist()
        if len(set(lengths)) != 1:
            raise VxpError(f"{self.root}: rows {start} to {stop} have {sorted(set(lengths))} parts, expected one number in "
                           "rows that are read together")
        return rows[:, : lengths[0]]

    def segments(self, row: int) -> list[list[int]]:
        """Of scores of parts, the parts of a row: half-open ranges of frames."""
        (length,) = self._of_shards("lengths", row, row + 1)[0].tolist()
        found: list[list[int]] = self._of_shards("segments", row, row + 1)[0][0, :length].tolist()
        return found

    def _of_shards(self, tensor: str, start: int, stop: int) -> list[Tensor]:
        return [self._of_shard(tensor, shard, max(start - shard["first_row"], 0), min(stop - shard["first_row"], shard["rows"]))
                for shard in self.shards
                if shard["first_row"] < stop and start < shard["first_row"] + shard["rows"]]

    def _of_shard(self, tensor: str, shard: typed.SetShard, a: int, b: int) -> Tensor:
        import safetensors

        path = self.root / shard["descriptor"]["path"]
        self._check(shard)
        expected = shard["tensors"][tensor]["shape"]
        with safetensors.safe_open(path, "pt") as file:
            found = file.get_slice(tensor) if tensor in file.keys() else None  # noqa: SIM118
            if found is None or list(found.get_shape()) != expected:
                got = f"no tensor {tensor!r}" if found is None else str(list(found.get_shape()))
                raise VxpError(f"{path}: got {got}, expected {tensor} {expected} as set.json says")
            rows: Tensor = found[a:b]
        return rows.clone()


def copy_described(given: Path, folder: Path, described: typed.Descriptor) -> None:
    """Copy a described file; VxpError where size or digest differ."""
    check_described(given, described)
    copy(given / described["path"], folder / described["path"])


def row_digests(maps: Tensor) -> list[bytes]:
    """sha256 of each row's raw bytes (payload_digest)."""
    return [hashlib.sha256(row.contiguous().numpy().tobytes()).digest() for row in maps]
