"""Bundles, tars and records changed at random: the checking process never breaks off, hangs or takes all memory, never
calls a changed byte unchanged, and never says more than it checked. A representative part runs in CI; `make fuzz` makes
10,000 mutations and prints their seed (VXP_MUTATIONS=10000, VXP_SEED=...)."""

from __future__ import annotations

import json
import os
import random
import selectors
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vxp_schemas
from bundle_tools import Broken, made_run, sealed
from rich.console import Console
from vxp import bundles, leaderboard
from vxp.core import VxpError
from vxp.validation import Report
from vxp.validation.report import CODES

MUTATIONS = int(os.environ.get("VXP_MUTATIONS", "200"))
"""Of them 60 % in folders, 20 % in tars and 20 % in records."""
SEED = int(os.environ.get("VXP_SEED", "20261123"))
PARTS = 10
SECONDS = 60
"""A case that takes longer hangs; on a free machine a case takes half a second."""
MEMORY = 2**19
"""Kilobytes that a changed bundle may make the checking process hold, beyond what the whole one does."""
METRICS = ("entropy", "deletion|steps:2", "max-box-acc-v2|thresholds:5")

VALUES: list[Any] = [None, True, False, 0, -1, 1, 2**53, 2**53 + 1, -(2**60), 1e308, 1e400, float("nan"), float("inf"), 0.5, "",
                     "a", "\n", "../..", "/etc/passwd", "A" * 5000, "\ud800", "ok", "sha256:" + "0" * 64, [], [[]], {},
                     {"a": 1}, [1, 2, 3], "é", "\u0000", "😀", "CON", "not-run:budget", "undefined:constant-map"]


class Checker:
    """The checking process of `vxp validate`, as the command starts it, fed with one path after the other."""

    least = 0
    """Kilobytes that it held after the first bundle, which is whole."""

    def __init__(self, kind: str) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process is)
        self.process = subprocess.Popen([sys.executable, "-P", "-m", "vxp.validation", "consistency", kind], bufsize=0,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        assert self.process.stdin
        assert self.process.stdout
        self.to, self.of = self.process.stdin, self.process.stdout
        self.ready = selectors.DefaultSelector()
        self.ready.register(self.of, selectors.EVENT_READ)

    def __call__(self, path: Path, told: str) -> Report:
        self.to.write(f"{json.dumps(str(path))}\n".encode())
        said = b""
        while not said.endswith(b"\n"):
            assert self.ready.select(SECONDS), f"{told}: no verdict after {SECONDS} s"
            part = self.of.read(1 << 20)
            assert part, f"{told}: the process ended: {self.stop()}"
            said += part
        status = Path(f"/proc/{self.process.pid}/status")
        if status.exists():
            held = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
            self.least = self.least or held
            assert held < self.least + MEMORY, f"{told}: it held {held} kB, and {self.least} kB for the whole bundle"
        document = json.loads(said)
        vxp_schemas.validate(document)
        found = Report.read(document)
        assert document["exit_code"] == CODES[found.verdict], told
        assert not found.stopped, f"{told}: {found.checks}"
        return found

    def stop(self) -> str:
        self.process.kill()
        self.process.wait()
        self.ready.close()
        self.to.close()
        self.of.close()
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")


@pytest.fixture(scope="module")
def check(whole: Path) -> Iterator[Checker]:
    checker = Checker("whole")
    assert checker(whole, "unchanged").verdict != "invalid"
    yield checker
    assert "Traceback" not in checker.stop()


@pytest.fixture(scope="module")
def check_record(record: Path) -> Iterator[Checker]:
    checker = Checker("record")
    assert checker(record / "bundle", "unchanged").verdict != "invalid"
    yield checker
    assert "Traceback" not in checker.stop()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutations")
    return sealed(made_run(folder / "run", metrics=METRICS, limit=6), folder / "bundle")


@pytest.fixture(scope="module")
def record(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    assert leaderboard.add_(Console(quiet=True), whole, folder, []) == 0
    return next(folder.iterdir())


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else []
    return [path, *(p for key, child in children for p in places(child, (*path, key)))]


def mutate_json(rng: random.Random, b: Broken) -> str:
    """A value replaced, removed, doubled or renamed somewhere in a document."""
    file = rng.choice([p for p in b.folder.rglob("*.json")])
    document = json.loads(file.read_bytes())
    path = rng.choice([p for p in places(document) if p])
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    kind = rng.choice(["replace", "delete", "rename", "double", "tweak"])
    last = path[-1]
    if kind == "replace":
        holder[last] = rng.choice(VALUES)
    elif kind == "delete":
        del holder[last]
    elif kind == "rename" and isinstance(holder, dict):
        holder[rng.choice(["x", str(last) + "s", str(last).upper(), ""])] = holder.pop(last)
    elif kind == "double" and isinstance(holder, list):
        holder.append(holder[last])
    elif isinstance(holder[last], int | float) and not isinstance(holder[last], bool):
        holder[last] = holder[last] * rng.choice([-1, 0.99, 2, 1e30]) + rng.choice([0, 1])
    elif isinstance(holder[last], str):
        text, at = holder[last], rng.randrange(len(holder[last]) + 1)
        holder[last] = text[:at] + rng.choice(["", "0", "\n", "/", "Z"]) + text[at + rng.randrange(2):]
    file.write_text(json.dumps(document), encoding="utf-8", errors="surrogatepass")
    return f"{kind} {file.relative_to(b.folder)} {path}"


def mutate_bytes(rng: random.Random, b: Broken) -> str:
    """Bytes flipped, cut, inserted or repeated in any file."""
    file = rng.choice(sorted(p for p in b.folder.rglob("*") if p.is_file()))
    data = bytearray(file.read_bytes())
    kind = rng.choice(["flip", "cut", "insert", "repeat", "zero", "swap"])
    at = rng.randrange(len(data))
    if kind == "flip":
        for _ in range(rng.choice([1, 1, 1, 20])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[at:]
    elif kind == "insert":
        data[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 7, 300])))
    elif kind == "repeat":
        data += data[at:]
    elif kind == "zero":
        data[at : at + 16] = bytes(min(16, len(data) - at))
    else:
        other = rng.randrange(len(data))
        data[at], data[other] = data[other], data[at]
    file.write_bytes(data)
    return f"{kind} {file.relative_to(b.folder)} at {at}"


def mutate_footer(rng: random.Random, b: Broken) -> str:
    """Bytes of a Parquet footer, where sizes are claimed."""
    file = b.path(rng.choice(["items", "samples", "references"]))
    data = bytearray(file.read_bytes())
    length = struct.unpack("<I", data[-8:-4])[0]
    for _ in range(rng.choice([1, 2, 5])):
        data[len(data) - 8 - rng.randrange(length)] = rng.randrange(256)
    file.write_bytes(data)
    return f"footer of {file.name}"


def mutate_header(rng: random.Random, b: Broken) -> str:
    """The header of a safetensors file: shapes, offsets, dtypes, names, its length."""
    files = [b.path(name) for name in ("shard", "curves", "statistics", "reference_statistics")]
    file = rng.choice([f for f in files if f.exists()])  # a record is without maps and curves
    data = file.read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    path = rng.choice([p for p in places(header) if p])
    holder = header
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = rng.choice(VALUES)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    length = rng.choice([len(text), len(text), len(text), n, 0, 2**63])
    file.write_bytes(struct.pack("<Q", length) + text + data[8 + n :])
    return f"header of {file.name} {path}"


def mutate_cell(rng: random.Random, b: Broken) -> str:
    """A cell of a table."""
    name = rng.choice(["items", "samples", "references"])
    table = pq.read_table(b.path(name))
    column = rng.choice(table.column_names)
    kind = table.schema.field(column).type
    values = table[column].to_pylist()
    at = rng.randrange(len(values))
    cells: list[Any] = [-1, 0, 1, 5, 32767, None]
    if kind == pa.string():
        cells = ["", "x", "ok", "failed:explainer-error", "é" * 300, None]
    elif pa.types.is_fixed_size_binary(kind):
        cells = [b"\0" * 32, None]
    elif pa.types.is_floating(kind):
        cells = [float("nan"), float("inf"), -1.0, 0.0, 1e30, 0.25, None]
    new = values[at] = rng.choice(cells)
    table = table.set_column(table.column_names.index(column), table.schema.field(column), pa.array(values, kind))
    pq.write_table(table, b.path(name))
    return f"{name} {column} row {at}: {new!r}"


def mutate_names(rng: random.Random, b: Broken) -> str:
    """A file renamed, doubled, removed, replaced by a folder or a link."""
    file = rng.choice(sorted(p for p in b.folder.rglob("*") if p.is_file()))
    kind = rng.choice(["rename", "copy", "remove", "folder", "link"])
    other = file.with_name(rng.choice(["x", file.name.upper(), ".hidden", "con", "a b", "é.json", "00001.safetensors",
                                       "submission.json"]))
    if kind == "rename":
        file.rename(other)
    elif kind == "copy":
        if other != file:
            shutil.copyfile(file, other)
    else:
        file.unlink()
        if kind == "folder":
            file.mkdir()
        elif kind == "link":
            file.symlink_to("/dev/zero")
    return f"{kind} {file.relative_to(b.folder)} {other.name}"


KINDS: list[Callable[[random.Random, Broken], str]] = [
    mutate_json, mutate_json, mutate_bytes, mutate_footer, mutate_header, mutate_cell, mutate_names]


def contents(folder: Path) -> dict[str, bytes | None]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() and not p.is_symlink() else None
            for p in folder.rglob("*")}


def changed(rng: random.Random, original: Path, folder: Path) -> tuple[str, bool]:
    """A changed copy of a bundle or of a record's bundle; what was changed, and whether all digests were made right again."""
    shutil.rmtree(folder, ignore_errors=True)
    b = Broken(original, folder)
    said = rng.choice(KINDS)(rng, b)
    # a link to /dev/zero is for the validator not to read, nor for this test
    links = any(p.is_symlink() for p in folder.rglob("*"))
    if rng.random() < 0.4 or links or not b.path("submission.json").is_file():
        return said, False
    try:
        b.seal()  # an attacker seals again, so that the digests say nothing
    except (ValueError, KeyError, TypeError, AttributeError, OSError, IndexError):
        return said, False
    return said, True


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(("kind", "share"), [("whole", 0.6), ("record", 0.2)])
def test_a_changed_bundle_never_breaks_the_validator_nor_passes_unseen(
    kind: str, share: float, part: int, whole: Path, record: Path, check: Checker, check_record: Checker, tmp_path: Path,
) -> None:
    original, checker = (whole, check) if kind == "whole" else (record / "bundle", check_record)
    before, digest = contents(original), vxp_schemas.file_digest(original / "submission.json")
    for number in range(part, round(share * MUTATIONS), PARTS):
        seed = f"{SEED}/{kind}/{number}"
        said, again = changed(random.Random(seed), original, tmp_path / "b")
        told = f"seed {seed}: {said}, {'sealed again' if again else 'not sealed again'}"
        found = checker(tmp_path / "b", told)
        if not again:
            now = contents(tmp_path / "b")
            root = now.pop("submission.json", None)
            # the root is bound by nothing but its own digest, which is the bundle's name
            assert found.verdict == "invalid" or now == {k: v for k, v in before.items() if k != "submission.json"}, told
            assert root == before["submission.json"] or found.root_digest != digest, told


@pytest.mark.parametrize("part", range(PARTS))
def test_a_changed_tar_never_breaks_the_validator_nor_passes_unseen(
    part: int, whole: Path, check: Checker, tmp_path: Path,
) -> None:
    tar = tmp_path / "b.tar"
    bundles.write_tar(tar, {p.relative_to(whole).as_posix(): p for p in whole.rglob("*") if p.is_file()})
    original, digest = tar.read_bytes(), vxp_schemas.file_digest(whole / "submission.json")
    root = bundles.open_bundle(tar).entries["submission.json"]
    starts = [512 * i for i in range(len(original) // 512) if original[512 * i + 257 : 512 * i + 262] == b"ustar"]
    for number in range(part, MUTATIONS // 5, PARTS):
        rng = random.Random(f"{SEED}/tar/{number}")
        data = bytearray(original)
        # half of the changes in headers, where names and sizes are
        at = rng.choice(starts) + rng.randrange(512) if rng.random() < 0.5 else rng.randrange(len(data))
        data[at] = rng.randrange(256)
        tar.write_bytes(data if rng.random() < 0.9 else data[: rng.randrange(len(data))])
        told = f"seed {SEED}/tar/{number}: byte {at}"
        found = check(tar, told)
        # nothing but the bytes of the root may differ, which then has another digest and so is another bundle
        now, end = tar.read_bytes(), root.start + root.size
        rooted = (now[: root.start], now[end:]) == (original[: root.start], original[end:])
        assert found.verdict == "invalid" or rooted, told
        assert now == original or found.root_digest != digest or found.verdict == "invalid", told


@pytest.mark.parametrize("number", range(max(4, MUTATIONS // 100)))
def test_a_changed_record_never_breaks_the_board_nor_passes_unseen(number: int, record: Path, tmp_path: Path) -> None:
    """Anything in the folder of a record, by the command that builds the pages: pages, a refusal, or an error in words (of
    which the command makes exit code 2)."""
    rng = random.Random(f"{SEED}/board/{number}")
    copy = tmp_path / "records" / record.name
    shutil.copytree(record, copy)
    file = rng.choice([copy / "report.json", *sorted(p for p in copy.rglob("*") if p.is_file())])
    data = bytearray(file.read_bytes())
    at = rng.randrange(len(data))
    if rng.random() < 0.5:
        data[at] ^= 1 << rng.randrange(8)
    else:
        del data[at : at + rng.choice([1, 100, len(data)])]
    file.write_bytes(data)
    told = f"seed {SEED}/board/{number}: {file.relative_to(copy)} at {at}"
    try:
        code = leaderboard.build(Console(quiet=True), tmp_path / "records", tmp_path / "site", check=False)
    except VxpError:
        code = 2
    assert code in (0, 1, 2), told
    assert code != 0 or file == copy / "report.json", told
