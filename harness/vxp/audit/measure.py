"""`python -m vxp.audit.measure` measures how far scores move with batch size, threads and precision on this machine,
and writes the tolerances of the registry.

A tolerance is ten times the largest difference seen in fp32 and three times in bf16, at least 1e-6 and 1e-3, rounded up to
one digit, and no more than the metric's range is wide. Maps that differ by more than a tenth of their range cannot be
compared at all.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

import numpy as np
import torch
import vxp_schemas

from vxp import explainers, models, tasks
from vxp.core import OK, Case, VxpError
from vxp.engine import Engine, Job, Precision
from vxp.machine import keep_freed_memory
from vxp.metrics import Bound, bind, catalogue

TIMES: Mapping[str, float] = {"fp32": 10, "bf16": 3}
LEAST: Mapping[str, float] = {"fp32": 1e-6, "bf16": 1e-3}
COMPARABLE = 0.1
SMALL = {"steps": 14, "samples": 3, "stages": 2, "sizes": 2, "thresholds": 50, "superpixels": 20}
"""Smaller settings: what is measured is how rounding passes through a metric, not the score."""
SETTINGS: tuple[tuple[str, Precision, int, int], ...] = (
    ("fp32", "fp32", 1, 1), ("fp32", "fp32", 3, 1), ("fp32", "fp32", 32, 2), ("bf16", "bf16", 8, 1), ("bf16", "bf16", 3, 2))
"""Class, precision, batch size and threads; each against fp32 at batch 8 on one thread."""
RUNS = (("shapes", "saliency", 24), ("shapes", "grad-cam", 24), ("photos", "grad-cam", 3), ("stamps", "grad-cam", 24))


@dataclass(frozen=True)
class Seen:
    """Per metric the relative differences, per map those over the range, and those of the target's probability."""

    scores: dict[str, list[float]]
    flips: dict[str, list[bool]]
    maps: list[float]
    targets: list[float]


def measured(names: list[str]) -> dict[str, Seen]:
    """Differences by precision class over all runs and settings."""
    seen = {name: Seen({}, {}, [], []) for name in LEAST}
    for task_name, explainer, items in RUNS:
        task = tasks.load(task_name).limited(items)
        model = models.load(task.model)
        wanted = [b for b in map(_small, names) if not b.metric.truth or set(b.metric.truth) & set(task.truth)]
        if task_name != "shapes":  # there a map made again costs most
            wanted = [b for b in wanted if not b.metric.re_explains]
        print(f"{task_name}, {explainer}: {len(wanted)} metrics", file=sys.stderr, flush=True)
        base = list(_outcomes(task, model, explainer, wanted, "fp32", 8, 1))
        for name, precision, batch_size, threads in SETTINGS:
            again = _outcomes(task, model, explainer, wanted, precision, batch_size, threads)
            for one, other in zip(base, again, strict=True):
                _compare(seen[name], one, other)
    return seen


def _small(name: str) -> Bound:
    metric = catalogue()[name]
    given = {k: v for k, v in SMALL.items() if k in metric.parameters}
    try:
        return bind((name, given))
    except VxpError:  # a limit of its own
        return bind(name)


def _outcomes(
    task: Any, model: Any, explainer: str, wanted: list[Bound], precision: Precision, size: int, threads: int,
) -> Iterator[Any]:
    torch.set_num_threads(threads)
    keep_freed_memory()
    bound = explainers.bind(explainer)
    engine = Engine(model.module, size, precision, relabelled=models.relabelled(model.id))
    for first in range(0, len(task.items), 8):
        batch = task.batch(first, min(first + 8, len(task.items)), model)
        with engine.arithmetic(batch.inputs.device):
            maps = bound(model.module, batch)
            probability = engine.predict(batch.inputs).softmax(1)
        # the stored maps are those of the first run; their own movement is measured apart
        stored = STORED.setdefault((task.name, explainer, first), maps)
        targets = TARGETS.setdefault((task.name, explainer, first), probability.argmax(1))
        batch = dataclasses.replace(batch, targets=targets)
        case = Case(batch, stored, bound.explainer.resample, bound.explainer.signed)
        found = engine.score([Job(case, tuple(wanted), bound)])[0]
        yield maps, probability.gather(1, targets[:, None])[:, 0], found


STORED: dict[Any, Any] = {}
TARGETS: dict[Any, Any] = {}


def _compare(seen: Seen, one: Any, other: Any) -> None:
    maps, probability, scores = one
    maps2, probability2, scores2 = other
    spread = maps.flatten(1).amax(1) - maps.flatten(1).amin(1)
    seen.maps.extend(((maps - maps2).abs().flatten(1).amax(1) / spread).tolist())
    seen.targets.extend((probability - probability2).abs().tolist())
    for signature, outcome in scores.items():
        name = signature.partition("@")[0]
        again = scores2[signature]
        values, values2 = ((o.values[:, None] if o.statistics is None else o.statistics.flatten(1)).double().numpy()
                           for o in (outcome, again))
        for a, b, s, s2 in zip(values, values2, outcome.status, again.status, strict=True):
            seen.flips.setdefault(name, []).append(s != s2)
            if s == s2 == OK and np.isfinite(a).any():
                off = np.nanmax(np.abs(a - b) / np.maximum(1, np.abs(a)))
                seen.scores.setdefault(name, []).append(float(off))


def up(value: float) -> float:
    """Rounded up to one digit."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** floor(log10(value))
    return float(f"{ceil(value / unit - 1e-9) * unit:.1g}")


def document(seen: Mapping[str, Seen]) -> dict[str, Any]:
    classes: dict[str, Any] = {}
    for name, found in seen.items():
        times, least = TIMES[name], LEAST[name]
        metrics = {m: max(found.scores.get(m, [0.0])) for m in sorted(found.flips)}
        limits = {m: min(up(max(times * worst, least)), _width(m)) for m, worst in metrics.items()}
        classes[name] = {
            "target_score": up(max(times * max(found.targets), least)), "scores": least,
            **({"maps": up(times * max(found.maps))} if max(found.maps) < COMPARABLE else {}),
            "metrics": {m: limit for m, limit in limits.items() if limit != least},
            "seen": {"target_score": max(found.targets), "maps": max(found.maps), "metrics": metrics,
                     "statuses": sum(sum(v) for v in found.flips.values())},
        }
    classes["tf32"] = {k: v for k, v in classes["bf16"].items() if k != "seen"}
    return {
        "about": "Largest admitted difference of a score computed again (relative above 1), by precision class and metric; "
                 "written by python -m vxp.audit.measure, which saw the differences below over batch sizes 1, 3, 8 and 32 and "
                 "one and two threads on a CPU. No GPU has been measured: tf32 has the tolerances of bf16.",
        "runs": [list(r) for r in RUNS], "torch": torch.__version__.partition("+")[0],
        "classes": {k: classes[k] for k in ("fp32", "tf32", "bf16")},
    }


def _width(metric: str) -> float:
    """How far apart two scores can be at all."""
    low, high = catalogue()[metric].range
    return float("inf") if low is None or high is None else float(high - low)


def main() -> None:
    names = sys.argv[1:] or list(catalogue())
    found = document(measured(names))
    target = Path(vxp_schemas.__file__).parent / "registry" / "tolerances.json"
    target.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
