"""A whole run against its bound, and the memory that it takes against the number of its items."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from vxp_schemas import typed

from vxp import clock, datasets, explainers, models, report, tasks
from vxp.bench.measure import Line, plain, plain_gradient, seconds
from vxp.documents import store
from vxp.engine import best_batch_size
from vxp.machine import computing
from vxp.runs import run
from vxp.runs.context import Context, Settings

METHODS = ("grad-cam", "saliency", "input-x-gradient")
"""Beside the three references of photos they make six explainers, as in the demo."""
TIMED = 64
"""Rows of one measurement of plain passes."""
SIZES = (2_000, 20_000)
"""Items of the two runs whose memory is compared."""
APART = 200
"""MiB that they may be apart."""


def against_plain_passes(items: int, threads: int = 1) -> list[Line]:
    """CPU time of `vxp run photos` with the card's suite and six explainers, its report included, over the time of its passes
    at the best batch size with nothing around them, in the same process."""
    task = tasks.load("photos")
    model = models.load(task.model)
    wanted = [explainers.bind(name) for name in METHODS]
    with computing(threads), tempfile.TemporaryDirectory() as folder:
        first = task.load(0, 1, model).inputs
        size = best_batch_size(model.module, first, limit=64)

        def context(name: str, n: int) -> Context:
            return Context.of(task, model, Path(folder) / name, Settings(batch_size=size, threads=threads, limit=n), ())

        run.run(context("warm", 1), wanted)  # what is compiled on first use is not of every run
        rates = [_rates(model.module, first, size)]
        with clock.timed() as spent:
            began = time.process_time()
            paths = run.run(context("run", items), wanted)
            report.write(Path(folder) / "run")
            took = time.process_time() - began
        rates.append(_rates(model.module, first, size))
        results = [store.read_document(path, typed.Result) for path in paths]
    forward, both = (statistics.median(r[k] for r in rates) for k in (0, 1))
    rows, gradients = _passes(results)
    bound = rows * forward + gradients * both
    whole = results[0]["cost"]["run"]
    group = (f"A whole run: photos, {items} items, {len(results)} explainers, EfficientNet-Lite0, {threads} thread(s), "
             f"batch size {size}")
    lines = [
        Line(group, "time over plain passes", took / bound, "", "<= 1.15", f"{took:.1f} s, bound {bound:.1f} s: {rows} forward "
             f"passes of {1000 * forward:.2f} ms, {gradients} forward and backward of {1000 * both:.2f} ms"),
        Line(group, "rows saved", 100 * (1 - whole["rows_run"] / whole["rows_asked"]), "%", "",
             f"{whole['rows_run']} run of {whole['rows_asked']} asked, {whole['rows_shared']} of them for all explainers")]
    return lines + [Line(group, f"{stage}, share of the bound", 100 * spent[stage] / bound, "%", "", f"{spent[stage]:.2f} s")
                    for stage in sorted(spent, key=lambda stage: -spent[stage])]


def _rates(module: torch.nn.Module, first: torch.Tensor, size: int) -> tuple[float, float]:
    """Seconds of a forward pass, and of a forward and backward pass, at this batch size."""
    inputs = first.repeat(size, *[1] * (first.ndim - 1))
    rows = -(-TIMED // size) * size
    return (statistics.median(seconds(lambda: plain(module, inputs, rows), "cpu") for _ in range(5)) / rows,
            statistics.median(seconds(lambda: plain_gradient(module, inputs, rows), "cpu") for _ in range(5)) / rows)


def _passes(results: Sequence[typed.Result]) -> tuple[int, int]:
    """Passes of a run that go forward only, and those that go back as well. A map that is made again takes what a map took."""
    forward, both = results[0]["cost"]["run"]["rows_run"], 0
    for found in results:
        made, again = found["cost"]["explain"], found["cost"]["score"]["explain_rows"]
        times = 1 + again / made["maps"]
        both += round(times * made["backward_rows"])
        forward += round(times * (made["forward_rows"] - made["backward_rows"]))
    return forward, both


# ---------------------------------------------------------------------------------------------------------------- memory


def against_items(sizes: Sequence[int] = SIZES) -> list[Line]:
    """Peak memory of runs of shapes with maps at full resolution, each in a process of its own."""
    group = "Memory: runs of shapes, maps of 64 x 64, saliency and the references"
    peaks = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, "-m", "vxp.bench.whole", str(n), folder], capture_output=True, text=True,
                                  check=True)
        peaks.append(json.loads(done.stdout.splitlines()[-1]))
    lines = [Line(group, f"peak with {n} items", peak["peak"] / 2**20, "MiB", "", f"{peak['seconds']:.0f} s, "
                  f"{peak['bytes'] / 1e6:.0f} MB of files") for n, peak in zip(sizes, peaks, strict=True)]
    apart = (peaks[-1]["peak"] - peaks[0]["peak"]) / 2**20
    return [*lines, Line(group, "apart", apart, "MiB", f"<= {APART}")]


def _shapes(n: int) -> Iterator[datasets.Item]:
    return islice(datasets.source("shapes").propose(7), n)


def _run(n: int, out: Path) -> dict[str, float]:
    """A run of so many shapes, with its report."""
    import resource

    task = replace(tasks.load("shapes"), items=tuple(_shapes(n)))
    model = models.load(task.model)
    metrics = ["deletion|steps:2", "faithfulness-correlation|samples:4", "max-box-acc-v2|thresholds:2", "pointing-game"]
    with computing(1):
        began = time.perf_counter()
        wanted = [explainers.bind("saliency")]
        context = Context.of(task, model, out, Settings(batch_size=64), metrics)
        run.run(context, wanted)
        report.write(out)
        took = time.perf_counter() - began
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "seconds": took, "bytes": size}


if __name__ == "__main__":
    print(json.dumps(_run(int(sys.argv[1]), Path(sys.argv[2]) / "run")))
