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
from vxp.runs.context import Context, Progress, Quiet, Settings

METHODS = ("grad-cam", "saliency", "input-x-gradient")
"""Beside the three references of photos they make six explainers, as in the demo."""
BATCHES = 2
"""Model batches of a run for every plain one that is timed between them."""
FEWER = 4
"""Timings of forward passes for every one of forward and backward passes, of which a run has few."""
SIZES = (2_000, 20_000)
"""Items of the two runs whose memory is compared."""
APART = 200
"""MiB that they may be apart."""


def against_plain_passes(items: int, threads: int = 1) -> list[Line]:
    """CPU time of `vxp run photos` with the card's suite and six explainers, its report included, over the time of its passes
    at the best batch size with nothing around them. Plain passes are timed between the model batches of the run, all along
    it, so that the machine is as fast for them; their own time is taken off that of the run."""
    task = tasks.load("photos")
    model = models.load(task.model)
    wanted = [explainers.bind(name) for name in METHODS]
    with computing(threads), tempfile.TemporaryDirectory() as folder:
        first = task.load(0, 1, model).inputs
        size = best_batch_size(model.module, first, limit=64)

        def context(name: str, n: int, progress: Progress) -> Context:
            settings = Settings(batch_size=size, threads=threads, limit=n)
            return Context.of(task, model, Path(folder) / name, settings, (), progress)

        # what is compiled on first use is not of every run, nor that the process gets its memory
        run.run(context("warm", 1, Between(model.module, first, size)), wanted)
        between = Between(model.module, first, size)
        with clock.timed() as spent:
            paths = run.run(context("run", items, between), wanted)
            report.write(Path(folder) / "run")
        results = [store.read_document(path, typed.Result) for path in paths]
    del spent["bound"]
    rows, gradients = _passes(results)
    took, forward, both = sum(spent.values()), between.forward, between.both
    bound = rows * statistics.mean(steadied(forward)) + gradients * statistics.mean(steadied(both))
    whole = results[0]["cost"]["run"]
    group = (f"A whole run: photos, {items} items, {len(results)} explainers, EfficientNet-Lite0, {threads} thread(s), "
             f"batch size {size}")
    lines = [
        Line(group, "time over plain passes", took / bound, "", "<= 1.15", f"{took:.1f} s of CPU, bound {bound:.1f} s"),
        _spread(group, "plain forward pass", forward, rows),
        _spread(group, "plain forward and backward pass", both, gradients),
        Line(group, "rows saved", 100 * (1 - whole["rows_run"] / whole["rows_asked"]), "%", "",
             f"{whole['rows_run']} run of {whole['rows_asked']} asked, {whole['rows_shared']} of them for all explainers")]
    return lines + [Line(group, f"{stage}, share of the bound", 100 * spent[stage] / bound, "%", "", f"{spent[stage]:.2f} s")
                    for stage in sorted(spent, key=lambda stage: -spent[stage])]


class Between(Quiet):
    """Progress of a run that times plain passes of its model between its model batches: forward and backward ones after every
    FEWER-th timing of forward ones. Seconds of CPU a row."""

    def __init__(self, module: torch.nn.Module, first: torch.Tensor, size: int) -> None:
        self.module, self.inputs = module, first.repeat(size, *[1] * (first.ndim - 1))
        self.forward: list[float] = []
        self.both: list[float] = []
        self.left = 0

    def rows(self, n: int) -> None:
        self.left -= n
        if self.left > 0:
            return
        size = len(self.inputs)
        self.left += BATCHES * size
        with clock.stage("bound"), torch.enable_grad():
            if len(self.forward) % FEWER == 0:
                self.both.append(seconds(lambda: plain_gradient(self.module, self.inputs, size), "cpu") / size)
            self.forward.append(seconds(lambda: plain(self.module, self.inputs, size), "cpu") / size)


def steadied(found: Sequence[float]) -> list[float]:
    """For every timing the median of the three around it: a drift stays, a single slow batch does not."""
    starts = (min(max(i - 1, 0), max(len(found) - 3, 0)) for i in range(len(found)))
    return [statistics.median(found[start:start + 3]) for start in starts]


def _spread(group: str, what: str, found: Sequence[float], passes: int) -> Line:
    """The time of a pass whose batches were timed all along a run, and how far these are apart."""
    ms = [1000 * one for one in found]
    low, middle, high = statistics.quantiles(ms, n=4)
    return Line(group, what, statistics.mean(steadied(ms)), "ms", "", f"{passes} in the run; of {len(ms)} batches the median "
                f"{middle:.2f}, half between {low:.2f} and {high:.2f}, all from {min(ms):.2f} to {max(ms):.2f}")


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
