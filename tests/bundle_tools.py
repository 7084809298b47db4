"""Bundles to break: a sealed run, edits of its files, and sealing again so that only the intended fault is left."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import vxp_schemas
from rich.console import Console
from vxp import cli, explainers, metrics, models, stats, tasks
from vxp.bundles import sealing, signing
from vxp.leaderboard import trust
from vxp.runs import result, run
from vxp.runs.context import Context, Settings

METRICS = ("entropy", "gini", "deletion|steps:4", "pointing-game", "max-box-acc-v2|thresholds:20")
STATEMENT = {
    "submission_id": "a-lab-saliency", "title": "Saliency", "submitter": {"name": "A Lab", "contact": "lab@example.org"},
    "authors": ["A. Author"], "license": "CC-BY-4.0", "conflicts_of_interest": "none", "code_available": True,
    "statement_of_tuning": "Nothing was tuned, and the task's items were not looked at.",
}


def made_run(out: Path, *names: str, limit: int | None = 24, metrics: tuple[str, ...] = METRICS) -> Path:
    """A run of the task shapes by these explainers (saliency where none is named), as `vxp run` makes it."""
    task = tasks.load("shapes")
    model = models.load(task.model)
    run.run(Context.of(task, model, out, Settings(batch_size=16, threads=1, limit=limit), metrics),
            [explainers.bind(n) for n in names or ("saliency",)])
    return out


def sealed(folder: Path, out: Path, explainer: str = "saliency", **said: Any) -> Path:
    """The bundle of one explainer of a run; `said` changes the statement."""
    statement = out.parent / f"{out.name}.statement.json"
    statement.write_text(json.dumps(STATEMENT | said))
    sealing.seal([folder], explainer, statement, out)
    return out


@cache
def _keys() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@cache
def key(name: str) -> Path:
    """A private key of somebody, the same throughout a process; its public part lies beside it."""
    private, _, _ = signing.new_key(Path(_keys().name) / name)
    return private


def trusted(records: Path, *, lab: str = STATEMENT["submitter"]["name"]) -> None:
    """The trust.json of a folder of records: the auditor `auditor`, and `lab`, who submits by this name."""
    for identity, name in (("auditor", "The Auditor"), ("lab", lab)):
        roles = ("auditor",) if identity == "auditor" else ()
        trust.add(records, key(identity).with_name(f"{identity}.pub.pem"), trust.Named(identity, name, roles))


def exit_code(arguments: Sequence[str], columns: int, folder: Path | None = None) -> Any:
    """The exit code of a command line in this process, as the console script runs it, perhaps in another folder."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("COLUMNS", str(columns))
        # a console keeps the width that it found when the module was imported, perhaps by another test
        for module in (cli, cli.boards, cli.bundles, cli.reading, cli.running):
            patched.setattr(module, "console", Console(), raising=False)
            patched.setattr(module, "errors", Console(stderr=True), raising=False)
        patched.setattr("sys.argv", ["vxp", *arguments])
        if folder is not None:
            patched.chdir(folder)
        with pytest.raises(SystemExit) as stop:
            cli.main()
    return stop.value.code


def commanded(line: str, code: int = 0) -> str:
    """Run a command line in this process and return what it printed, both streams."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        ended = exit_code(shlex.split(line), 300)
    assert ended == code, f"{line}\n{printed.getvalue()}"
    return printed.getvalue()


class Broken:
    """A copy of a bundle that can be changed. Paths: `set`, `items`, `shard`, `result`, `samples`, ... of its one set."""

    def __init__(self, original: Path, folder: Path) -> None:
        shutil.copytree(original, folder)
        self.folder = folder
        root = json.loads((folder / "submission.json").read_bytes())
        self.set, self.result = root["sets"][0]["path"], root["results"][0]["path"]
        there, here = self.set.rpartition("/")[0], self.result.rpartition("/")[0]
        self.items, self.shard = f"{there}/items.parquet", f"{there}/payload/00000.safetensors"
        self.samples, self.environment = f"{here}/samples.parquet", f"{here}/environment.json"
        self.curves, self.statistics = f"{here}/curves.safetensors", f"{here}/statistics.safetensors"
        self.references = f"{here}/references.parquet"
        self.reference_statistics = f"{here}/reference-statistics.safetensors"

    def path(self, name: str) -> Path:
        return self.folder / getattr(self, name, name)

    def json(self, name: str, change: Callable[[Any], object]) -> None:
        document = json.loads(self.path(name).read_bytes())
        change(document)
        self.path(name).write_text(json.dumps(document, indent=2))

    def bytes(self, name: str, change: Callable[[bytes], bytes]) -> None:
        self.path(name).write_bytes(change(self.path(name).read_bytes()))

    def table(self, name: str, change: Callable[[dict[str, list[Any]]], object], types: dict[str, Any] | None = None) -> None:
        """Columns as lists; a column keeps its type unless `types` names another."""
        table = pq.read_table(self.path(name))
        columns = {n: table[n].to_pylist() for n in table.column_names}
        known = {n: table.schema.field(n).type for n in table.column_names} | (types or {})
        change(columns)
        pq.write_table(pa.table({n: pa.array(v, known.get(n)) for n, v in columns.items()}), self.path(name))

    def tensors(self, name: str, change: Callable[[dict[str, np.ndarray]], object]) -> None:
        tensors = {k: v.copy() for k, v in safetensors.numpy.load_file(self.path(name)).items()}
        change(tensors)
        safetensors.numpy.save_file(tensors, self.path(name))

    def rescore(self) -> None:
        """Aggregates of the result and its references computed again from the samples, as an attacker would."""
        table = pq.read_table(self.path("samples"))
        beside = pq.read_table(self.path("references")).to_pylist()
        document = json.loads(self.path("result").read_bytes())
        clusters = table["cluster"].to_pylist()
        for score in document["scores"]:
            self._rescored(score, table[score["signature"]].to_pylist(), table[f"{score['signature']}#status"].to_pylist(),
                           clusters)
        for reference in document["references"]:
            for score in reference["scores"]:
                rows = [r for r in beside if r["explainer"] == reference["explainer"] and r["signature"] == score["signature"]]
                self._rescored(score, [r["value"] for r in rows], [r["status"] for r in rows], clusters)
        self.path("result").write_text(json.dumps(document))

    @staticmethod
    def _rescored(score: dict[str, Any], numbers: list[Any], status: list[str], clusters: list[str]) -> None:
        metric = metrics.bind(score["signature"]).metric
        if metric.level != "sample":
            return
        values = [np.nan if v is None else v for v in numbers]
        again = stats.summary(values, status, clusters, stats.Scale.of(metric))
        for field in ("n", "statuses", "mean", "mean_worst_bound", "median", "sd", "ci"):
            if field in score:
                key = {"cluster_key": score["ci"]["cluster_key"]} if field == "ci" else {}
                score[field] = dict(again[field]) | key if field == "ci" else again[field]

    def seal(self, *, rows: bool = True) -> None:
        """Make every digest right again, from the leaves to the root; `rows`: those of single maps as well."""
        if rows and self.path("shard").exists():
            self._rows()
        manifest = json.loads(self.path("set").read_bytes())
        folder = self.path("set").parent
        for described in [manifest["items"], *(s["descriptor"] for s in manifest["shards"])]:
            self._described(described, folder)
        self.path("set").write_text(json.dumps(manifest))
        document = json.loads(self.path("result").read_bytes())
        for kind in ("set", *result.FILES):
            if kind in document:
                self._described(document[kind], self.folder)
        self.path("result").write_text(json.dumps(document))
        root = json.loads(self.path("submission.json").read_bytes())
        for described in [root["system"], *root["sets"], *root["results"], *root["documents"], *root["documentation"]]:
            self._described(described, self.folder)
        self.path("submission.json").write_text(json.dumps(root))

    def _rows(self) -> None:
        try:
            maps = safetensors.numpy.load_file(self.path("shard"))["values"]
            digests = [hashlib.sha256(m.tobytes()).digest() for m in maps]
            self.table("items", lambda t: t.update(payload_digest=digests) if len(t["row"]) == len(digests) else None)
        except (KeyError, safetensors.SafetensorError, pa.ArrowException):
            return  # the fault is in these very files

    @staticmethod
    def _described(described: dict[str, Any], folder: Path) -> None:
        path = folder / described["path"]
        if path.is_file():
            described |= {"size": path.stat().st_size, "digest": vxp_schemas.file_digest(path)}
