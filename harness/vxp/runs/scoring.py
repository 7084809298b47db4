"""The stage that scores: stored maps, read back, in units."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor
from vxp_schemas import typed

from vxp.core import OK, Case, Outcome, VxpError
from vxp.documents import store
from vxp.engine import Engine, Job, Tally, failed, without_numbers
from vxp.explainers import BoundExplainer
from vxp.metrics import Bound
from vxp.models.clips import LateFusion
from vxp.runs.baselines import Baseline
from vxp.runs.context import Context
from vxp.runs.writing import Scored


class ScoreNotes(TypedDict):
    """What a unit keeps of a score beside its numbers: a status for every item, and the x of its curve."""

    status: Sequence[str]
    x: Sequence[float]


class Notes(TypedDict):
    """What a unit keeps beside its tensors."""

    scores: dict[str, ScoreNotes]
    tally: typed.ResultCostScore
    batch_size: int


def score(context: Context, bound: BoundExplainer, folder: Path, baselines: Mapping[int, Baseline]) -> Scored:
    """Score a stored set, read back, in units."""
    document = store.read_document(folder / "set.json", typed.Set)
    facts = document["explainer"]
    maps = store.read_maps(folder, document["shards"])
    items = store.read_described_table(folder, document["items"])
    expected = [item.id for item in context.task.items]
    if items["item_id"].to_pylist() != expected or len(maps) != len(expected):
        raise VxpError(f"{folder}: got {len(maps)} maps for {items['item_id'].to_pylist()[:3]} ..., expected "
                       f"{len(expected)} maps for the task's items {expected[:3]} ... in their order")
    status = items["status"].to_pylist()
    context.progress.stage(f"scoring {bound.name}", len(expected))
    done, excluded = _runnable(context, bound)
    units: list[tuple[dict[str, Tensor], Notes]] = []
    tally: typed.ResultCostScore = {"rows_asked": 0, "rows_run": 0, "explain_rows": 0, "seconds": 0.0}
    if isinstance(context.model.module, LateFusion):
        tally["frames_run"] = 0
    lost = OK not in status  # nothing to score
    for start, stop in () if lost else context.ranges():
        name = f"score/{document['set_id']}/{start:06d}"
        unit = context.units.load(name)
        if unit is None:
            batch = context.batch(start, stop, baselines[start].targets)
            case = Case(batch, maps[start:stop].to(batch.inputs.device), facts["resample"], facts["signed"])
            unit = _score_unit(context.engine, Job(case, tuple(done), bound), baselines[start])
            context.units.save(name, *unit)
        units.append(unit)
        tally = _added(tally, unit[1]["tally"])
        context.progress.items(stop - start)
    scores = {b.signature: without_numbers(status) if lost else _joined(units, b.signature, status) for b in done}
    scores |= {b.signature: failed(len(expected), why, "not-run") for b, why in excluded.items()}
    ordered = {b.signature: (b, scores[b.signature]) for b in context.metrics}
    explained: typed.ResultCostExplain = {
        "forward_rows": sum(items["n_forwards"].to_pylist()), "backward_rows": sum(items["n_backwards"].to_pylist()),
        "seconds": sum(items["runtime_ms"].to_pylist()) / 1000, "maps": len(expected)}
    cost: typed.ResultCost = {"explain": explained, "score": tally, "peak_memory_bytes": _peak(context.settings.device),
                              "device": _device_name(context.settings.device)}
    least = min([unit[1]["batch_size"] for unit in units], default=context.settings.batch_size)
    return Scored(bound, folder, document["set_id"], items["target"].to_pylist(), ordered, cost, least)


def _added(a: typed.ResultCostScore, b: typed.ResultCostScore) -> typed.ResultCostScore:
    """The cost of both; frames where the model looks at frames one by one."""
    total: typed.ResultCostScore = {
        "rows_asked": a["rows_asked"] + b["rows_asked"], "rows_run": a["rows_run"] + b["rows_run"],
        "explain_rows": a["explain_rows"] + b["explain_rows"], "seconds": a["seconds"] + b["seconds"]}
    if "frames_run" in a:
        total["frames_run"] = a["frames_run"] + b.get("frames_run", 0)
    return total


def _runnable(context: Context, bound: BoundExplainer) -> tuple[list[Bound], dict[Bound, str]]:
    """The metrics that this explainer is scored by, and those that it is not, with the reason (clause 6.3.1)."""
    limit = context.task.budget.get("max_passes_per_map")
    run, not_run = [], {}
    for wanted in context.metrics:
        again = wanted.metric.re_explains
        if context.task.kind.id not in wanted.metric.kinds:
            not_run[wanted] = "kind"
        elif again and bound.explainer.reference and not wanted.metric.references:
            not_run[wanted] = "reference"
        elif wanted.metric.needs_relabelled and context.engine.relabelled is None:
            not_run[wanted] = "no-relabelled-model"
        elif again and not bound.available:
            not_run[wanted] = "no-explainer"
        elif again and limit is not None and bound.passes > limit:
            not_run[wanted] = "budget"
        else:
            run.append(wanted)
    return run, not_run


def _score_unit(engine: Engine, job: Job, baseline: Baseline) -> tuple[dict[str, Tensor], Notes]:
    """The outcomes of one range as a unit keeps them: tensors and notes."""
    engine.tally = Tally()
    began = time.perf_counter()
    found = engine.score([job], baseline.rows)[0]
    tensors: dict[str, Tensor] = {}
    scores: dict[str, ScoreNotes] = {}
    for signature, outcome in found.items():
        tensors[f"values/{signature}"] = outcome.values
        if outcome.curve is not None:
            tensors[f"curve/{signature}"] = outcome.curve
        if outcome.statistics is not None:
            tensors[f"statistics/{signature}"] = outcome.statistics
        scores[signature] = {"status": outcome.status, "x": outcome.x}
    tally: typed.ResultCostScore = {
        "rows_asked": engine.tally.asked, "rows_run": engine.tally.run, "explain_rows": engine.tally.explained,
        "frames_run": engine.tally.frames, "seconds": time.perf_counter() - began}
    return tensors, {"scores": scores, "tally": tally, "batch_size": engine.batch_size}


def _joined(units: Sequence[tuple[Mapping[str, Tensor], Notes]], signature: str, made: Sequence[str]) -> Outcome:
    """The outcome over all units; an item whose map could not be made has that status everywhere, except where nothing was
    run."""
    values = torch.cat([tensors[f"values/{signature}"] for tensors, _ in units])
    status = [s for _, notes in units for s in notes["scores"][signature]["status"]]
    status = [score if map_ == OK or score.startswith("not-run:") else map_ for score, map_ in zip(status, made, strict=True)]
    values[torch.tensor([s != OK for s in status])] = float("nan")
    curve, statistics = ([tensors.get(f"{kind}/{signature}") for tensors, _ in units] for kind in ("curve", "statistics"))
    rows = [len(tensors[f"values/{signature}"]) for tensors, _ in units]
    return Outcome(values, tuple(status), _all_or_none(curve), tuple(units[0][1]["scores"][signature]["x"]),
                   _with_gaps(statistics, rows))


def _all_or_none(parts: Sequence[Tensor | None]) -> Tensor | None:
    return None if any(p is None for p in parts) else torch.cat([p for p in parts if p is not None])


def _with_gaps(parts: Sequence[Tensor | None], rows: Sequence[int]) -> Tensor | None:
    """Statistics of all units; zeros where a unit has none, since the metric failed there and no status is `ok`."""
    like = next((p for p in parts if p is not None), None)
    if like is None:
        return None
    return torch.cat([like.new_zeros(n, *like.shape[1:]) if p is None else p for p, n in zip(parts, rows, strict=True)])


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device


def _peak(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
