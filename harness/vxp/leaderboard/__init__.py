"""`vxp leaderboard`: records of submissions in a repository, and the board that anybody can build from them again."""

from __future__ import annotations

import io
import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from vxp_schemas import typed

from vxp.core import VxpError
from vxp.documents import store
from vxp.documents.findings import plain
from vxp.leaderboard import known, page, references, trust
from vxp.leaderboard.adding import add
from vxp.leaderboard.board import board
from vxp.leaderboard.records import AUDITS, SIGNATURE, WITHDRAWAL, Record, read, read_all
from vxp.report.words import Score
from vxp.validation import report

DOCUMENT, TABLE = "leaderboard.json", "leaderboard.parquet"


def add_(
    console: Console, bundle: Path, records: Path, audits: Sequence[Path], *, signature: Path | None = None,
    withdrawal: Path | None = None,
) -> int:
    """Add a bundle's record, or statements to it; prints what stands in the way and which of them count, and returns the exit
    code."""
    if not bundle.exists():
        raise VxpError(f"{bundle} does not exist: expected a folder or tar that vxp seal wrote")
    target, validation, findings = add(bundle, records, audits, signature=signature, withdrawal=withdrawal)
    if validation.exit_code != 0:
        report.show(console, validation)
        return validation.exit_code
    report.show_findings(console, [f.document() for f in findings.all])
    if target is None:
        console.print("Not added: see above", soft_wrap=True)
        return 1
    command = shlex.join(["vxp", "leaderboard", "build", "--records", str(records)])
    trusted = trust.read(records)
    record, errors = read(target, validation, trusted)
    if record is None:
        report.show_findings(console, errors)
        return 1
    lines = [f"Record: {target}", *_standings(record), *_without(trusted, records), f"Build the pages: {command}"]
    console.print("\n".join(map(plain, lines)), soft_wrap=True, highlight=False, markup=False)
    return 0


def keep(console: Console, run: Path, records: Path) -> int:
    """Keep the references of a run beside the records, and say where."""
    target = references.keep(run, records)
    console.print(f"References: {target}", soft_wrap=True, highlight=False, markup=False)
    return 0


def _standings(record: Record) -> list[str]:
    """Which statements of a record count."""
    named = {SIGNATURE: record.signature} | {f"{AUDITS}/{file}": s for file, s in record.standings.items()}
    named |= {WITHDRAWAL: record.withdrawal.standing} if record.withdrawal else {}
    return [f"{file} counts, signed by {', '.join(s.signed_by)}" if s.trusted else f"{file} does not count: {s.why_not}"
            for file, s in named.items()]


def _without(trusted: trust.Trust, records: Path) -> list[str]:
    """What a repository without a trust.json has to know."""
    if trusted.document is not None:
        return []
    return [f"No {trust.FILE} is beside {records}, so that everything has evidence E1 until an auditor's key is named there "
            f"(vxp leaderboard trust ID --key ID.pub.pem --name NAME --auditor --records {records})"]


def build(console: Console, records: Path, out: Path, *, check: bool) -> int:
    """Write the board from its records, or hold what is there against them; prints what differs, returns the exit code."""
    with known.memory(afresh=check) as memory:
        found, wrong = read_all(records, memory)
        document, misstated = board(found, references.read_all(records), memory)
        wrong |= misstated
        files = {} if wrong else _files(document, found, out, memory)
    for name, errors in wrong.items():
        console.print(f"{name}:", style="bold", markup=False)
        report.show_findings(console, errors)
    for line in _without(trust.read(records), records):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if wrong:
        console.print(f"{len(wrong)} records with errors: nothing was written", soft_wrap=True)
        return 1
    if check:
        differing = _differing(files, out)
        for line in differing:
            console.print(line, soft_wrap=True, markup=False)
        console.print(f"{out}: {'differs from' if differing else 'is'} what the {len(found)} records give", soft_wrap=True,
                      markup=False)
        return 1 if differing else 0
    _write(files, out)
    console.print(f"Board of {len(found)} records: {out / 'index.html'}", soft_wrap=True, highlight=False, markup=False)
    return 0


def trust_(console: Console, records: Path, key: Path, who: trust.Named) -> int:
    """Name a key in trust.json; prints where, and returns the exit code."""
    path = trust.add(records, key, who)
    roles = f" as {' and '.join(who.roles)}" if who.roles else ""
    console.print(f"{path} names the key of {who.identity}{roles}", soft_wrap=True,
                  highlight=False, markup=False)
    return 0


def _plain(value: Any, depth: int = 4) -> str:
    """JSON with a line for every entry of a table and every field of a submission: a change is seen where it is, and the rest
    is left to the fast encoder."""
    if not depth or not value or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = ([f"{json.dumps(k, ensure_ascii=False)}: {_plain(v, depth - 1)}" for k, v in value.items()]
             if isinstance(value, dict) else [_plain(v, depth - 1) for v in value])
    first, last = "{}" if isinstance(value, dict) else "[]"
    return first + "\n" + ",\n".join(inner) + "\n" + last


def _files(document: typed.Leaderboard, found: Sequence[Record], out: Path, memory: known.Memory) -> dict[str, bytes]:
    """Every file of a board by its path."""
    text = _plain(document)
    table = memory.file(out / TABLE, lambda: _parquet(rows(document)), "rows", text)
    return {**page.pages(document, found, out, memory), DOCUMENT: text.encode() + b"\n", TABLE: table}


PAGES = ("submissions", "tables")
"""The folders of pages, one for every submission and one for every table."""


def _write(files: dict[str, bytes], out: Path) -> None:
    """Pages of submissions and tables that are gone go too; nothing else in the folder is touched."""
    for place in (*(out / name for name in PAGES), *(out / path for path in files)):
        if place.is_symlink():
            raise VxpError(f"{place} is a link, and a board is written to its own folder only: delete the link")
    for path, data in files.items():
        if not (out / path).is_file() or (out / path).read_bytes() != data:
            store.write_bytes(out / path, data)
    for path in sorted(_pages(out) - files.keys()):
        (out / path).unlink()
    for name in PAGES:
        if (out / name).is_dir() and not any(path.startswith(f"{name}/") for path in files):
            shutil.rmtree(out / name, ignore_errors=True)


def _pages(out: Path) -> set[str]:
    """The pages of submissions and tables that are there."""
    return {f"{name}/{page.name}" for name in PAGES for page in (out / name).glob("*.html")}


def _differing(files: dict[str, bytes], out: Path) -> list[str]:
    """What is not there, not as it should be, or too much. Parquet by its rows: its bytes differ between library versions."""
    said = []
    for path, data in files.items():
        there = (out / path).read_bytes() if (out / path).is_file() else None
        if there is None:
            said.append(f"missing: {path}")
        elif there != data and not (path == TABLE and _rows(there) == _rows(data)):
            said.append(f"other content: {path}")
    return said + [f"too much: {path}" for path in sorted(_pages(out) - files.keys())]


Row = dict[str, Any]
"""A row by the columns of SCHEMA."""


def rows(document: typed.Leaderboard) -> list[Row]:
    """A row for every score of every result and reference, for those who compute with them."""
    submissions = {s["record"]: s for s in document["submissions"]}
    found: list[Row] = []
    for table in document["tables"]:
        facts = {s["signature"]: s for s in table["scores"]}
        common = {"task": table["task"]["id"], "task_version": table["task"]["version"], "task_digest": table["task"]["digest"],
                  "model": table["model"]["id"], "model_digest": table["model"]["digest"], "items": table["items"],
                  "clusters": table["clusters"]}
        for entry in table["entries"]:
            said, cost = submissions[entry["record"]], entry["cost"]
            for score in entry["scores"]:
                numbers = _numbers(facts[score["signature"]], score, score.get("figure"), score.get("figure_ci"))
                found.append(common | numbers | {
                    "method": entry["explainer"], "reference": False, "record": entry["record"],
                    "root_digest": said["root_digest"], "shown": said["shown"], "evidence": score["evidence"],
                    "coverage": score.get("coverage"), "tied_for_best": score.get("tied_for_best"),
                    "forward_per_map": cost["forward_per_map"], "backward_per_map": cost["backward_per_map"],
                    "ms_per_map": cost["ms_per_map"]})
        for reference in table["references"]:
            found += [common | _numbers(facts[s["signature"]], s, s.get("mean"), s.get("ci"))
                      | {"method": reference["explainer"], "reference": True, "shown": True} for s in reference["scores"]]
    return [{column: row.get(column) for column in SCHEMA.names} for row in found]


def _numbers(fact: typed.LeaderboardTableScore, score: Score, figure: float | None, ci: typed.Ci | None) -> Row:
    return {"signature": fact["signature"], "family": fact["family"], "better": fact["better"], "level": fact["level"],
            "n": score["n"], "n_ok": score.get("statuses", {}).get("ok", 0), "mean": score.get("mean"), "figure": figure,
            "lo": ci["lo"] if ci else None, "hi": ci["hi"] if ci else None}


SCHEMA = pa.schema([
    ("task", pa.string()), ("task_version", pa.int32()), ("task_digest", pa.string()), ("model", pa.string()),
    ("model_digest", pa.string()), ("items", pa.int64()), ("clusters", pa.int64()), ("method", pa.string()),
    ("reference", pa.bool_()), ("record", pa.string()), ("root_digest", pa.string()), ("shown", pa.bool_()),
    ("evidence", pa.string()), ("signature", pa.string()), ("family", pa.string()), ("better", pa.string()),
    ("level", pa.string()), ("n", pa.int64()), ("n_ok", pa.int64()), ("mean", pa.float64()), ("coverage", pa.float64()),
    ("figure", pa.float64()), ("lo", pa.float64()), ("hi", pa.float64()), ("tied_for_best", pa.bool_()),
    ("forward_per_map", pa.float64()), ("backward_per_map", pa.float64()), ("ms_per_map", pa.float64())])


def _parquet(found: list[Row]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(found, schema=SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def _rows(data: bytes) -> list[Row] | None:
    try:
        read: list[Row] = pq.read_table(io.BytesIO(data)).to_pylist()
        return read
    except (pa.ArrowException, OSError):
        return None


__all__ = ["DOCUMENT", "TABLE", "add_", "board", "build", "keep", "rows", "trust_"]
