"""`python -m vxp.audit.measure` measures how far scores move with batch size, threads and precision on this machine,
and writes the tolerances of the registry. `python -m vxp.audit.measure nli` measures only how far scores move with the
error that a solution of the fill `nli` may have, and `python -m vxp.audit.measure METRIC ...` only these metrics; both
leave the other tolerances as they are.

A tolerance is ten times the largest difference seen in fp32 and three times in bf16, at least 1e-6 and 1e-3, rounded up to
one digit, and no more than the metric's range is wide. A score whose rows are imputed is also compared with the scores of
solutions that are off by all that the standard admits, at every removed pixel and to one side; where it counts or ranks
outputs, one of them may be counted otherwise or change places; and it is at least twice the largest difference on the
vectors. Maps that differ by more than a tenth of their range cannot be compared at all.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

import numpy as np
import torch
import vxp_schemas
from torch import Tensor
from vxp_schemas import ToleranceClass, Tolerances

from vxp import conformance, explainers, imputation, kinds, models, outputs, tasks
from vxp.conformance import worker as conformance_worker
from vxp.core import OK, Case, VxpError
from vxp.engine import Engine, Job, Precision, traces
from vxp.machine import keep_freed_memory
from vxp.media import image
from vxp.metrics import Bound, bind, catalogue
from vxp.models import Model
from vxp.tasks import Task

TIMES: Mapping[str, float] = {"fp32": 10, "bf16": 3}
LEAST: Mapping[str, float] = {"fp32": 1e-6, "bf16": 1e-3}
COMPARABLE = 0.1
SMALL = {"steps": 14, "samples": 3, "stages": 2, "sizes": 2, "thresholds": 50, "superpixels": 20}
"""Smaller settings: what is measured is how rounding passes through a metric, not the score."""
SETTINGS: tuple[tuple[str, Precision, int, int], ...] = (
    ("fp32", "fp32", 1, 1), ("fp32", "fp32", 3, 1), ("fp32", "fp32", 32, 2), ("bf16", "bf16", 8, 1), ("bf16", "bf16", 3, 2))
"""Class, precision, batch size and threads; each against fp32 at batch 8 on one thread."""
RUNS = (("shapes", "saliency", 24), ("shapes", "grad-cam", 24), ("photos", "grad-cam", 3), ("stamps", "grad-cam", 24),
        ("motion-items", "saliency", 24), ("motion-items", "grad-cam", 24), ("montage", "random", 24),
        ("montage-objects", "random", 2), ("shapes-foils", "noise-equal", 24), ("shapes-factors", "random-concepts", 24),
        ("montage-words", "random-words", 8), ("shapes-rules", "rule-majority", 24), ("figures", "random", 24),
        ("figures-prototypes", "random-patches", 24))
"""Task, explainer and items. A metric is measured where its kind, its truth and what it asks of the model are. Scores of parts
are those that no model makes: their order is that of the summariser's, and moves with its rounding by more than maps do."""


NLI_ERROR = 1e-4
"""What the standard admits as the error of a solution, in raw units."""
IMPUTED_RUNS = (("shapes", "grad-cam", 3), ("photos", "grad-cam", 1))
IMPUTED_SMALL = SMALL | {"samples": 20, "regions": 20}
MANY_ROWS = ("selectivity", "aopc", "irof", "infidelity", "sensitivity-n")
"""Metrics that are left out where a row costs much."""
NEARLY_EXACT = 1e-6
"""Where the solver stops when its solution is taken for the exact one: float32 leaves little more."""
ONE_STEP = {
    "road-lerf|readout:class-kept": 1 / 9, "road-morf|readout:class-kept": 1 / 9, "non-sensitivity|fill:nli": 1 / 16,
    "monotonicity|fill:nli": 1.0, "single-deletion|fill:nli": 12 / (16 * 17), "mu-fidelity|fill:nli": 12 / (200 * 201),
}
"""By how much one output moves a score that counts or ranks them, at the defaults: two neighbours of n that change places
move Spearman's correlation by at most 12/(n*(n + 1))."""


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
        wanted = [b for b in map(_small, names) if any(kinds.admits(b.metric.kinds, kind.id) for kind in task.kinds)
                  and (not b.metric.truth or set(b.metric.truth) & set(task.truth))]
        if task_name in ("photos", "stamps"):  # there a map made again costs most
            wanted = [b for b in wanted if not b.metric.re_explains]
        model = models.load(task.model)
        wanted = [b for b in wanted if outputs.of(model.module).id in b.metric.outputs and _asked(b, task, model)]
        if not wanted:
            continue
        print(f"{task_name}, {explainer}: {len(wanted)} metrics", file=sys.stderr, flush=True)
        base = list(_outcomes(task, model, explainer, wanted, "fp32", 8, 1))
        for name, precision, batch_size, threads in SETTINGS:
            again = _outcomes(task, model, explainer, wanted, precision, batch_size, threads)
            for one, other in zip(base, again, strict=True):
                _compare(seen[name], one, other)
    return seen


def _asked(bound: Bound, task: Task, model: Model) -> bool:
    """Whether the items of a task have what a metric asks of them, such as parts."""
    try:
        traces([bound], task.load(0, 1, model).batch(torch.zeros(1, dtype=torch.int64)), task.kinds, outputs.of(model.module))
    except VxpError:
        return False
    return True


def imputed() -> dict[str, float]:
    """The largest differences of scores whose rows are imputed, by metric and by the parameter that makes them so: the
    solver as it is, and solutions off by the admitted error up or down, each against a nearly exact one."""
    found: dict[str, float] = {}
    wanted = {key: _small(name, IMPUTED_SMALL, given) for key, (name, given) in imputing().items()}
    for task_name, explainer, items in IMPUTED_RUNS:
        task = tasks.load(task_name).limited(items)
        model = models.load(task.model)
        bounds = [b for b in wanted.values() if task_name == "shapes" or b.metric.id not in MANY_ROWS]
        print(f"nli: {task_name}, {explainer}: {len(bounds)} scores", file=sys.stderr, flush=True)
        with _solved(NEARLY_EXACT, 0.0):
            base = list(_outcomes(task, model, explainer, bounds, "fp32", 8, 1))
        for tolerance, off in ((imputation.TOLERANCE, 0.0), (NEARLY_EXACT, NLI_ERROR), (NEARLY_EXACT, -NLI_ERROR)):
            seen = Seen({}, {}, [], [])
            with _solved(tolerance, off):
                again = list(_outcomes(task, model, explainer, bounds, "fp32", 8, 1))
            for one, other in zip(base, again, strict=True):
                _compare(seen, one, other, {bound.signature: key for key, bound in wanted.items()})
            for key, differences in seen.scores.items():
                found[key] = max(found.get(key, 0.0), *differences)
            print(f"solved to {tolerance:g}, off by {off:g}: done", file=sys.stderr, flush=True)
    return found


def imputed_vectors() -> dict[str, float]:
    """The largest differences of the same kind on the conformance vectors, whose small models are more sensitive than most."""
    found: dict[str, float] = {}
    folder = conformance.folder()
    for case in conformance.read_cases(folder):
        own = {case["metric"], *(f"{name}:{value}" for name, value in case["parameters"].items())}
        key = max((k for k in imputing() if set(k.split("|")) <= own), key=len, default=None)
        if key is None:
            continue
        answers = []
        for off in (0.0, NLI_ERROR, -NLI_ERROR):
            with _solved(NEARLY_EXACT, off):
                answers.append(conformance_worker.answered(case, folder)["values"])
        for exact, *others in zip(*answers, strict=True):
            for other in others:
                if exact is not None and other is not None:
                    found[key] = max(found.get(key, 0.0), abs(other - exact) / max(1.0, abs(exact)))
    return found


def imputing() -> dict[str, tuple[str, dict[str, Any]]]:
    """The scores whose rows can be imputed, by the key of the registry's tolerances: `metric` where all its rows are,
    `metric|fill:nli`, and `metric|readout:class-kept`."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, metric in catalogue().items():
        if "nli" in metric.fills:
            found[name] = (name, {})
        elif "nli" in metric.limits.get("fill", ()):
            found[f"{name}|fill:nli"] = (name, {"fill": "nli"})
        if "class-kept" in metric.limits.get("readout", ()):
            given = {"fill": "nli"} if "fill" in metric.parameters else {}
            found["|".join([name, *(f"{k}:{v}" for k, v in given.items()), "readout:class-kept"])] = (
                name, given | {"readout": "class-kept"})
    return found


@contextlib.contextmanager
def _solved(tolerance: float, off: float) -> Iterator[None]:
    """Imputation that stops at this tolerance, and whose removed pixels are then off by this much."""
    before = imputation.nli

    def nli(raw: Tensor, removed: Tensor, *, mean: Sequence[float]) -> Tensor:
        return before(raw, removed, mean=mean, tolerance=tolerance) + off * removed[:, None].to(raw.dtype)

    image.nli = nli  # type: ignore[attr-defined,assignment]
    try:
        yield
    finally:
        image.nli = before  # type: ignore[attr-defined]


def _small(name: str, small: Mapping[str, Any] = SMALL, given: Mapping[str, Any] | None = None) -> Bound:
    metric = catalogue()[name]
    own = dict(given or {})
    fitting = {k: v for k, v in small.items() if k in metric.parameters} | own
    try:
        return bind((name, fitting))
    except VxpError:  # a limit of its own
        return bind((name, own))


def _outcomes(
    task: Any, model: Any, explainer: str, wanted: list[Bound], precision: Precision, size: int, threads: int,
) -> Iterator[Any]:
    torch.set_num_threads(threads)
    keep_freed_memory()
    bound = explainers.bind(explainer).on(*task.kinds)
    engine = Engine(model.module, size, precision, relabelled=models.relabelled(model.id))
    ranges = [(first, min(first + 8, last)) for start, last in task.runs_alike(0, len(task.items))
              for first in range(start, last, 8)]
    for first, last in ranges:
        place = (task.name, explainer, first)
        if place not in LOADED:
            LOADED[place] = task.load(first, last, model)
        loaded = LOADED[place]
        with engine.arithmetic(loaded.inputs.device):
            said = engine.predict(loaded.inputs)
            predicted = engine.output.predicted(said)
            maps = bound(model.module, loaded.batch(loaded.targets(predicted)))
        # the stored maps are those of the first run; their own movement is measured apart
        stored = STORED.setdefault(place, maps)
        targets = TARGETS.setdefault(place, predicted)
        batch = loaded.batch(targets)
        level = engine.output.of(engine.output.read(said, targets), engine.output.level)
        case = Case(batch, stored, bound.explainer.resample, bound.explainer.signed, explained=bound.kind)
        found = engine.score(Job(case, tuple(wanted), bound))
        yield maps.float(), level, found


LOADED: dict[Any, Any] = {}
STORED: dict[Any, Any] = {}
TARGETS: dict[Any, Any] = {}


def _compare(seen: Seen, one: Any, other: Any, keys: Mapping[str, str] | None = None) -> None:
    """Note how far two runs are apart, by metric or by these keys of signatures."""
    maps, probability, scores = one
    maps2, probability2, scores2 = other
    spread = maps.flatten(1).amax(1) - maps.flatten(1).amin(1)
    seen.maps.extend(((maps - maps2).abs().flatten(1).amax(1) / spread).tolist())
    seen.targets.extend((probability - probability2).abs().tolist())
    for signature, outcome in scores.items():
        name = signature.partition("@")[0] if keys is None else keys[signature]
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


def document(seen: Mapping[str, Seen]) -> Tolerances:
    classes: dict[str, ToleranceClass] = {}
    for name, found in seen.items():
        times, least = TIMES[name], LEAST[name]
        metrics = {m: max(found.scores.get(m, [0.0])) for m in sorted(found.flips)}
        limits = {m: min(up(max(times * worst, least)), _width(m)) for m, worst in metrics.items()}
        classes[name] = {
            "target_score": up(max(times * max(found.targets), least)), "scores": least,
            "metrics": {m: limit for m, limit in limits.items() if limit != least},
            "seen": {"target_score": max(found.targets), "maps": max(found.maps), "metrics": metrics,
                     "statuses": sum(sum(v) for v in found.flips.values())},
        }
        if max(found.maps) < COMPARABLE:
            classes[name]["maps"] = up(times * max(found.maps))
    classes["tf32"] = classes["bf16"].copy()
    del classes["tf32"]["seen"]
    return {
        "about": "Largest admitted difference of a score computed again (relative above 1), by precision class and by metric, "
                 "or by metric and parameters; written by python -m vxp.audit.measure, which saw the differences below over "
                 "batch sizes 1, 3, 8 and 32 and one and two threads on a CPU, and under imputed those to the scores of "
                 "solutions of the fill nli that are off by 1e-4. No GPU has been measured: tf32 has the tolerances of bf16.",
        "runs": [list(r) for r in RUNS], "imputed_runs": [list(r) for r in IMPUTED_RUNS],
        "torch": torch.__version__.partition("+")[0],
        "classes": {k: classes[k] for k in ("fp32", "tf32", "bf16")},
    }


def with_metrics(known: Tolerances, measured: Tolerances) -> Tolerances:
    """The document of the tolerances with those of the metrics that were measured, in place of the ones that they had.
    Tolerances of maps and of the target's probability only grow: other runs showed those that are there."""
    classes = {name: _renewed(known["classes"][name], measured["classes"][name]) for name in LEAST}
    classes["tf32"] = classes["bf16"].copy()
    del classes["tf32"]["seen"]
    versions = known.get("torch_of", {}) | dict.fromkeys(measured["classes"]["fp32"]["seen"]["metrics"], measured["torch"])
    return {"about": measured["about"], "runs": measured["runs"], "imputed_runs": measured["imputed_runs"],
            "torch": known["torch"], "torch_of": dict(sorted(versions.items())),
            "classes": {name: classes[name] for name in known["classes"]}}


def _renewed(known: ToleranceClass, found: ToleranceClass) -> ToleranceClass:
    old, new = known["seen"], found["seen"]
    kept = {key: limit for key, limit in known["metrics"].items() if key not in new["metrics"]}
    both: ToleranceClass = known | {
        "target_score": max(known["target_score"], found["target_score"]),
        "metrics": dict(sorted({**kept, **found["metrics"]}.items())),
        "seen": old | {
            "target_score": max(old["target_score"], new["target_score"]), "maps": max(old["maps"], new["maps"]),
            "metrics": dict(sorted({**old["metrics"], **new["metrics"]}.items())),
            "statuses": max(old.get("statuses", 0), new.get("statuses", 0))}}
    if "maps" in known:
        both["maps"] = max(known["maps"], found.get("maps", 0.0))
    return both


def with_imputed(known: Tolerances, found: Mapping[str, float], vectors: Mapping[str, float]) -> Tolerances:
    """The document of the tolerances with those of scores whose rows are imputed, from the largest differences by key, on
    tasks and on vectors. What was seen before stays: another processor shows other differences."""
    fp32 = known["classes"]["fp32"]
    found = _larger(fp32["seen"].get("imputed", {}), found)
    vectors = _larger(fp32["seen"].get("imputed_vectors", {}), vectors)
    metrics = {key: limit for key, limit in fp32["metrics"].items() if "|" not in key}
    for key, seen in found.items():
        name = key.split("|")[0]
        # two solutions may be off to opposite sides
        limit = up(max(TIMES["fp32"] * seen, 2 * vectors.get(key, 0.0), ONE_STEP.get(key, 0.0), fp32["scores"],
                       metrics.get(name, 0.0)))
        metrics[key] = min(limit, _width(name))
    renewed: ToleranceClass = fp32 | {
        "metrics": dict(sorted(metrics.items())),
        "seen": fp32["seen"] | {"imputed": dict(sorted(found.items())), "imputed_vectors": dict(sorted(vectors.items()))}}
    return known | {"classes": known["classes"] | {"fp32": renewed}}


def _larger(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {key: max(before.get(key, 0.0), now.get(key, 0.0)) for key in {*before, *now}}


def _width(metric: str) -> float:
    """How far apart two scores can be at all."""
    low, high = catalogue()[metric].range
    return float("inf") if low is None or high is None else float(high - low)


def main() -> None:
    names, known = sys.argv[1:], vxp_schemas.tolerances()
    if names not in ([], ["nli"]):
        found = with_metrics(known, document(measured(names)))
    else:
        found = with_imputed(known if names else document(measured(list(catalogue()))), imputed(), imputed_vectors())
    target = Path(vxp_schemas.__file__).parent / "registry" / "tolerances.json"
    target.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
