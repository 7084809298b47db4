"""Every command that reads from disk reads regular files of bounded size: nothing hangs, and nothing is unfolded on trust."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bundle_tools import made_run
from typer.testing import CliRunner
from vxp import audit
from vxp.bundles import sealing
from vxp.cli import app
from vxp.core import VxpError
from vxp.documents import store
from vxp_schemas import typed

GIB = 2**30


def hole(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(20 * GIB)


FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": Path.mkdir, "hole": hole}
SCORE = "score SET --out RUN/again --threads 1 --batch-size 4 --device cpu"
READ = {
    "a result by report": ("results/*/result.json", "report RUN"),
    "samples by report": ("results/*/samples.parquet", "report RUN"),
    "maps by report": ("explanations/*/payload/00000.safetensors", "report RUN"),
    "a result by compare": ("results/*/result.json", "compare RESULT RESULT"),
    "samples by compare": ("results/*/samples.parquet", "compare RESULT RESULT"),
    "a set by score": ("explanations/*/set.json", SCORE),
    "items by score": ("explanations/*/items.parquet", SCORE),
    "maps by score": ("explanations/*/payload/00000.safetensors", SCORE),
    "a document by migrate": ("results/*/result.json", "migrate RESULT/result.json --out RUN/new.json"),
    "a result by cite": ("results/*/result.json", "cite RESULT"),
    "a result by seal": ("results/*/result.json", "seal RUN --explainer saliency --submission RUN/s.json --out RUN/b.tar"),
}
"""The file that is exchanged, and the command line that reads it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("run") / "run", limit=4, metrics=("entropy",))


@pytest.fixture
def made(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def place(run: Path, pattern: str) -> Path:
    return next(path for path in sorted(run.glob(pattern)) if "saliency" in str(path))


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("what", READ)
def test_what_is_no_file_of_a_sane_size_is_an_error_at_once(what: str, kind: str, made: Path) -> None:
    pattern, line = READ[what]
    for word, path in (("RUN", made), ("RESULT", place(made, "results/*")), ("SET", place(made, "explanations/*"))):
        line = line.replace(word, str(path))
    target = place(made, pattern)
    target.unlink()
    FILES[kind](target)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    done = CliRunner().invoke(app, line.split())
    assert isinstance(done.exception, VxpError | SystemExit), done.exc_info
    assert done.exit_code != 0
    assert time.monotonic() - began < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("read", [audit.read, sealing.read_statement, lambda path: store.read_document(path, typed.Result)],
                         ids=["audit", "statement", "document"])
def test_so_it_is_with_statements(kind: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    FILES[kind](tmp_path / "s.json")
    with pytest.raises(VxpError, match=r"s\.json"):
        read(tmp_path / "s.json")


BOMBS: dict[str, Callable[[], pa.Table]] = {
    "a long text in many rows": lambda: pa.table({"item_id": pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(2_000_000, np.int32)), pa.array(["x" * 2000]))}),
    "rows of nothing": lambda: pa.table({f"c{i}": pa.array(np.zeros(3_000_000, np.int8)) for i in range(100)}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_table_that_unfolds_to_gigabytes_is_refused(name: str) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(BOMBS[name](), sink, compression="zstd", store_schema=False)
    data = sink.getvalue().to_pybytes()
    assert len(data) < 2**21
    with pytest.raises(VxpError, match="expected at most 2147483648"):
        store.read_table(data)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_bytes_that_are_no_table_are_an_error_that_says_so(data: bytes) -> None:
    with pytest.raises(VxpError, match="a table that cannot be read"):
        store.read_table(data)


def test_a_table_is_read_as_it_was_written() -> None:
    table = pa.table({"a": pa.array(["x", None, "y", "x"]), "b": pa.array([1.5, None, 2.5, 3.5]),
                      "c": pa.array([b"1", b"2", b"3", None])})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    assert store.read_table(sink.getvalue().to_pybytes()).equals(table)
