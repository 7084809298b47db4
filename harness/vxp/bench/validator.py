"""The validator against its bound: reading every byte of a bundle once and hashing it."""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import safetensors.numpy
import torch
import vxp_schemas
from vxp_schemas import typed

from vxp import explainers, models, tasks
from vxp.bench.measure import Line
from vxp.bundles import sealing
from vxp.documents import store
from vxp.runs import result, run
from vxp.runs.context import Context, Settings
from vxp.validation import Report

GROUP = "validator"
ROWS = 5000
SIDE = 224
PAIRS = 3


def against_one_read(rows: int = ROWS) -> list[Line]:
    """The checking process of `vxp validate` at level integrity on a bundle of `rows` maps of 224 x 224 in half precision
    (0.5 GB): its time beside that of reading and hashing every byte, and its memory (12.4.5)."""
    with tempfile.TemporaryDirectory() as temporary:
        bundle = large(Path(temporary), rows)
        size = sum(p.stat().st_size for p in bundle.rglob("*") if p.is_file())
        pairs = []
        for _ in range(PAIRS):
            began = time.perf_counter()
            _read(bundle)
            pairs.append((time.perf_counter() - began, checked(bundle, "integrity")))
    one = statistics.median(read for read, _ in pairs)
    beyond = statistics.median(process.seconds - 3 * read for read, process in pairs)
    peak = max(process.peak for _, process in pairs)
    return [
        Line(GROUP, "integrity beyond three reads", beyond, "s", "< 1.5", f"{size / 1e6:.0f} MB, {rows} maps; of the whole "
             f"process, one read and hash taking {one:.2f} s"),
        Line(GROUP, "memory of the checking process", peak / 2**20, "MiB", "< 1024", "the largest it ever held"),
    ]


@dataclass(frozen=True)
class Process:
    """What the checking process took: seconds from its start to its end, and the bytes that it held at most."""

    seconds: float
    peak: int


def checked(bundle: Path, level: str) -> Process:
    """Run the checking process on a bundle as `vxp validate` does; RuntimeError where it finds an error or ends early."""
    # by a small process between: a child counts what its parent held when it was made
    between = ("import json, resource, subprocess, sys, time\n"
               "began = time.perf_counter()\n"
               "said = subprocess.run(sys.argv[1:], check=True, stdout=subprocess.PIPE).stdout.decode()\n"
               "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
               "print(json.dumps([time.perf_counter() - began, peak, said]))")
    command = [sys.executable, "-c", between, sys.executable, "-P", "-m", "vxp.validation", level, "whole"]
    done = subprocess.run(command, input=f"{json.dumps(str(bundle))}\n", check=True, capture_output=True, text=True)
    seconds, kilobytes, said = json.loads(done.stdout)
    found = Report.read(json.loads(said))
    if found.of("error") or found.stopped:
        raise RuntimeError(f"the bundle of the benchmark was not checked without errors: {found.findings[:1]} {found.checks}")
    return Process(seconds, kilobytes * 1024)


def _read(bundle: Path) -> None:
    for path in sorted(p for p in bundle.rglob("*") if p.is_file()):
        hasher = hashlib.sha256()
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                hasher.update(part)


def large(folder: Path, rows: int) -> Path:
    """A sealed bundle of two items, blown up: its maps, rows and scores are repeated with new values, its digests made
    right again. It is whole up to level integrity; its items are no task's."""
    task = tasks.load("shapes")
    model = models.load(task.model)
    settings = Settings(batch_size=2, threads=torch.get_num_threads(), limit=2)
    run.run(Context.of(task, model, folder / "run", settings, ("entropy",)), [explainers.bind("saliency")])
    said = {**sealing.FORM, "submitter": {"name": "bench", "contact": "bench"}, "authors": ["bench"],
            "conflicts_of_interest": "none", "statement_of_tuning": "none"}
    store.write_bytes(folder / "said.json", result.plain_json(said))
    out = folder / "bundle"
    sealing.seal([folder / "run"], "saliency", folder / "said.json", out)
    root = json.loads((out / "submission.json").read_bytes())
    place = out / root["sets"][0]["path"]
    manifest, document = json.loads(place.read_bytes()), json.loads((out / root["results"][0]["path"]).read_bytes())
    _maps(place.parent, manifest, rows)
    _table(out / document["samples"]["path"], rows, {})
    manifest["items"] |= store.descriptor(place.parent / "items.parquet", place.parent, store.PARQUET, rows)
    manifest["n_items"] = {"expected": rows, "present": rows}
    store.write_document(place, manifest)
    document["samples"] = store.descriptor(out / document["samples"]["path"], out, store.PARQUET, rows)
    document["set"] = store.descriptor(place, out, store.JSON)
    store.write_document(out / root["results"][0]["path"], document)
    for kind in ("sets", "results"):
        root[kind] = [store.descriptor(out / root[kind][0]["path"], out, store.JSON)]
    vxp_schemas.validate(root)
    store.write_bytes(out / "submission.json", result.plain_json(root))
    return out


def _maps(folder: Path, manifest: typed.Set, rows: int) -> None:
    maps = np.random.default_rng(0).random((rows, SIDE, SIDE), np.float32).astype(np.float16)
    path = folder / manifest["shards"][0]["descriptor"]["path"]
    store.write_bytes(path, safetensors.numpy.save({"values": maps}))
    manifest["shards"] = [{"descriptor": store.descriptor(path, folder, store.SAFETENSORS, rows), "first_row": 0, "rows": rows,
                           "tensors": {"values": {"dtype": "F16", "shape": list(maps.shape)}}}]
    _table(folder / "items.parquet", rows, {
        "row": pa.array(range(rows), pa.int64()), "shard_row": pa.array(range(rows), pa.int64()),
        "payload_digest": pa.array([hashlib.sha256(m.tobytes()).digest() for m in maps], pa.binary(32))})


def _table(path: Path, rows: int, columns: dict[str, pa.Array]) -> None:
    """The table with its first row repeated, but for these columns."""
    table = store.read_table(path.read_bytes()).take([0] * rows)
    store.write_table(path, {name: columns.get(name, table[name].combine_chunks()) for name in table.column_names})
