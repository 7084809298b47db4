"""`python tests/big_board.py N FOLDER`: a board of N records, made of those in docs/leaderboard, and what it takes.

Every record is a submission of its own: scores mixed from two methods with some noise, aggregates, digests and signatures made
again, 50 labs. Prints seconds, those of a processor, and memory of `vxp leaderboard build` from nothing, with nothing new and
with one more record, and the largest page.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from bundle_tools import Broken
from vxp import metrics
from vxp.bundles import signing
from vxp.leaderboard import trust

THERE = Path(__file__).parents[1] / "docs" / "leaderboard"
LABS = 50


def make(number: int, out: Path, keys: Path) -> Path:
    """The record of this number."""
    rng = np.random.default_rng(number)
    sources = sorted((THERE / "records").iterdir())
    source = sources[number % len(sources)]
    task = json.loads(next(source.glob("bundle/results/*/result.json")).read_bytes())["task"]["digest"]
    alike = [s for s in sources
             if json.loads(next(s.glob("bundle/results/*/result.json")).read_bytes())["task"]["digest"] == task]
    lab = f"lab-{number % LABS}"
    with tempfile.TemporaryDirectory(dir=out) as folder:
        broken = Broken(source / "bundle", Path(folder) / "bundle")
        other = Broken(alike[int(rng.integers(len(alike)))] / "bundle", Path(folder) / "other")
        _mixed(broken, other, rng)
        broken.json("submission.json", lambda d: d.update(
            submission_id=f"{lab}-{number}", title=f"Submission {number}", submitter=d["submitter"] | {"name": f"Lab {lab}"}))
        broken.seal(rows=False)
        root = hashlib.sha256((broken.folder / "submission.json").read_bytes()).hexdigest()
        record = Path(folder) / "record"
        shutil.copytree(broken.folder, record / "bundle")
        report = json.loads((source / "report.json").read_bytes()) | {"root_digest": f"sha256:{root}"}
        (record / "report.json").write_text(json.dumps(report))
        (record / "audits").mkdir()
        for audit in (source / "audits").iterdir():
            said = json.loads(base64.b64decode(json.loads(audit.read_bytes())["payload"]))
            said["subject"] = [{"name": f"{lab}-{number}", "digest": {"sha256": root}}]
            plain = Path(folder) / "audit.json"
            plain.write_text(json.dumps(said))
            signing.main(plain, keys / "auditor.pem", record / "audits" / audit.name)
        signing.main(record / "bundle", keys / f"{lab}.pem", record / "signature.json")
        target = out / f"{lab}-{number}-{root[:12]}"
        os.replace(record, target)
    return target


def _mixed(broken: Broken, other: Broken, rng: np.random.Generator) -> None:
    """Scores between two methods, maps of its own, and the aggregates of both."""
    theirs = pq.read_table(other.path("samples"))
    share = rng.uniform(0.0, 0.5)
    document = json.loads(broken.path("result").read_bytes())
    moved = {s["signature"]: s["range"] for s in document["scores"]
             if s["level"] == "sample" and not metrics.bind(s["signature"]).metric.binary}

    def mix(table: dict[str, list[Any]]) -> None:
        for signature, (low, high) in moved.items():
            own = np.array([np.nan if v is None else v for v in table[signature]], float)
            beside = np.array([np.nan if v is None else v for v in theirs[signature].to_pylist()], float) \
                if signature in theirs.column_names else own
            mixed = np.where(np.isfinite(beside), (1 - share) * own + share * beside, own)
            mixed = mixed + rng.normal(0, 0.02 * max(float(np.nanstd(own)), 1e-6), len(own))
            table[signature] = [None if not np.isfinite(v) else float(v) for v in np.clip(mixed, low, high)]

    broken.table("samples", mix)
    broken.table("items", lambda t: t.update(payload_digest=[rng.bytes(32) for _ in t["row"]]))
    table = pq.read_table(broken.path("samples"))
    clusters = table["cluster"].to_pylist()
    for score in document["scores"]:
        if score["signature"] in moved:
            broken._rescored(score, table[score["signature"]].to_pylist(),
                             table[f"{score['signature']}#status"].to_pylist(), clusters)
    broken.path("result").write_text(json.dumps(document))


def trusting(records: Path, keys: Path) -> None:
    for who in ("auditor", *(f"lab-{k}" for k in range(LABS))):
        signing.new_key(keys / who)
        role = "auditor" if who == "auditor" else "submitter"
        trust.add(records, keys / f"{who}.pub.pem", trust.Named(who, f"Lab {who}", (role,)))


def built(records: Path, board: Path, cache: Path) -> None:
    """Build it, and print what it took."""
    began, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["vxp", "leaderboard", "build", "--records", str(records), "--out", str(board)]
    subprocess.run(command, check=True, env=os.environ | {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{sum(1 for _ in records.iterdir())} records: {time.time() - began:.0f} s, {processor:.0f} s of a processor, "
          f"at most {after.ru_maxrss / 2**20:.2f} GiB", flush=True)


def main(n: int, folder: Path) -> None:
    records, keys = folder / "records", folder / "keys"
    for place in (records, keys):
        place.mkdir(parents=True, exist_ok=True)
    if not (folder / "trust.json").exists():
        trusting(records, keys)
        shutil.copytree(THERE / "references", folder / "references")
    missing = sorted(set(range(n)) - {int(p.name.split("-")[2]) for p in records.glob("lab-*")})
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(partial(make, out=records, keys=keys), missing):
            pass
    for _ in range(2):  # from nothing, and with nothing new
        built(records, folder / "board", folder / "cache")
    one = make(n, folder, keys)
    os.replace(one, records / one.name)
    built(records, folder / "board", folder / "cache")
    largest = max((folder / "board").rglob("*.html"), key=lambda page: page.stat().st_size)
    print(f"largest page: {largest.name}, {largest.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
