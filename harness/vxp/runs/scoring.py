"""The stage that scores: stored maps, read back, in units; and what all units of a set give, read one after another."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from vxp_schemas import typed

from vxp import clock
from vxp.core import OK, Case
from vxp.documents.streams import Array
from vxp.engine import Engine, Job, Tally
from vxp.engine import Shared as SharedRows
from vxp.explainers import BoundExplainer
from vxp.metrics import Bound
from vxp.models.clips import ByFrames
from vxp.runs import baselines, explanations
from vxp.runs.context import Context, device_name


class ScoreNotes(TypedDict):
    """What a unit keeps of a score beside its numbers: a status for every item, and the x of its curve."""

    status: Sequence[str]
    x: Sequence[float]


class Notes(TypedDict):
    """What a unit keeps beside its tensors."""

    scores: dict[str, ScoreNotes]
    tally: typed.ResultCostScore
    batch_size: int


T = TypeVar("T")
Unit = tuple[Mapping[str, Tensor], Notes]


def name(of_set: str, start: int) -> str:
    """The unit of the range that begins here."""
    return f"score/{of_set}/{start:06d}"


def make(context: Context, bound: BoundExplainer, of_set: str, start: int, stop: int) -> None:
    """Score the stored maps of a range, and keep what came out as a unit."""
    if context.units.done(name(of_set, start)):
        return
    maps, status = explanations.read(context, of_set, start, stop)
    if OK not in status:  # nothing to score
        nothing: Notes = {"scores": {}, "tally": _nothing(context), "batch_size": context.engine.batch_size}
        context.units.save(name(of_set, start), {}, nothing)
        return
    baseline = baselines.read(context, start)
    batch = context.batch(start, stop, baseline.targets)
    case = Case(batch, maps.to(batch.inputs.device), bound.explainer.resample, bound.explainer.signed,
                explained=bound.made)
    run, _ = runnable(context, bound)
    context.units.save(name(of_set, start), *_score_unit(context.engine, Job(case, tuple(run), bound), baseline.shared))


def runnable(context: Context, bound: BoundExplainer) -> tuple[list[Bound], dict[str, str]]:
    """The metrics that this explainer is scored by, and the signatures of the others, with the reason (clause 6.3.1)."""
    limit = context.task.budget.get("max_passes_per_map")
    run: list[Bound] = []
    not_run: dict[str, str] = {}
    for wanted in context.metrics:
        again = wanted.metric.re_explains
        if (code := wanted.undefined_for(bound.made.id, context.output)) is not None:
            not_run[wanted.signature] = code
        elif again and bound.explainer.reference and not wanted.metric.references:
            not_run[wanted.signature] = "reference"
        elif wanted.metric.needs_relabelled and context.relabelled is None:
            not_run[wanted.signature] = "no-relabelled-model"
        elif again and not bound.available:
            not_run[wanted.signature] = "no-explainer"
        elif again and limit is not None and bound.passes > limit:
            not_run[wanted.signature] = "budget"
        else:
            run.append(wanted)
    return run, not_run


@clock.stage("metrics")
def _score_unit(engine: Engine, job: Job, known: SharedRows) -> Unit:
    """The outcomes of one range as a unit keeps them: tensors and notes."""
    engine.tally = Tally()
    began = time.perf_counter()
    found = engine.score(job, known)
    tensors: dict[str, Tensor] = {}
    scores: dict[str, ScoreNotes] = {}
    for signature, outcome in found.items():
        tensors[f"values/{signature}"] = outcome.values
        if outcome.curve is not None:
            tensors[f"curve/{signature}"] = outcome.curve.float()
        if outcome.statistics is not None:
            tensors[f"statistics/{signature}"] = outcome.statistics
        scores[signature] = {"status": outcome.status, "x": outcome.x}
    tally: typed.ResultCostScore = {
        "rows_asked": engine.tally.asked, "rows_run": engine.tally.run, "explain_rows": engine.tally.explained,
        "frames_run": engine.tally.frames, "seconds": time.perf_counter() - began}
    return tensors, {"scores": scores, "tally": tally, "batch_size": engine.batch_size}


# --------------------------------------------------------------------------------------------------- all units of a set


@dataclass(frozen=True, eq=False)
class Part:
    """The scores of a range, by signature: values float64 [n], a status for each, and the curve [n, K] or the statistics
    [n, D] where the unit has them."""

    start: int
    values: Mapping[str, Tensor]
    status: Mapping[str, Sequence[str]]
    curves: Mapping[str, Tensor]
    statistics: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Gathered:
    """What is known of all units of a set without their numbers: the x of every curve by signature, the arrays of curves and
    statistics over all items, what scoring cost, and the smallest batch size that ran."""

    x: Mapping[str, Sequence[float]]
    curves: Mapping[str, Array]
    statistics: Mapping[str, Array]
    cost: typed.ResultCost
    batch_size: int


def gathered(context: Context, of_set: str) -> Gathered:
    """Look through the heads of all units; VxpError where one is missing."""
    items, n = explanations.Stored.of(explanations.folder(context, of_set)).items, len(context.task.items)
    x: dict[str, Sequence[float]] = {}
    arrays: dict[str, Array] = {}
    tally, least = _nothing(context), context.settings.batch_size
    for start, _ in context.ranges():
        head = context.units.head(name(of_set, start))
        if head is None:
            raise context.units.missing(name(of_set, start))
        notes, shapes = head
        for signature, said in notes["scores"].items():
            if said["x"]:
                x.setdefault(signature, said["x"])
        for key, (dtype, shape) in shapes.items():
            arrays.setdefault(key, Array(dtype, (n, *shape[1:])))
        tally = _added(tally, notes["tally"])
        least = min(least, notes["batch_size"])
    explained: typed.ResultCostExplain = {
        "forward_rows": sum(items["n_forwards"].to_pylist()), "backward_rows": sum(items["n_backwards"].to_pylist()),
        "seconds": sum(items["runtime_ms"].to_pylist()) / 1000, "maps": len(items)}
    cost: typed.ResultCost = {"explain": explained, "score": tally, "peak_memory_bytes": _peak(context.settings.device),
                              "device": device_name(context.settings.device)}
    return Gathered(x, _of(arrays, "curve/"), _of(arrays, "statistics/"), cost, least)


def parts(context: Context, bound: BoundExplainer, of_set: str) -> Iterator[Part]:
    """The scores of every range in order. An item whose map could not be made has that status everywhere, except where nothing
    was run."""
    _, not_run = runnable(context, bound)
    for start, stop in context.ranges():
        unit = context.units.load(name(of_set, start))
        assert unit is not None, "its notes were read before"
        tensors, notes = unit
        maps = explanations.statuses(context, of_set, start, stop)
        values, statuses = {}, {}
        for wanted in context.metrics:
            signature = wanted.signature
            if signature in not_run:
                status: Sequence[str] = [f"not-run:{not_run[signature]}"] * len(maps)
            elif signature in notes["scores"]:
                scored = notes["scores"][signature]["status"]
                status = [s if m == OK or s.startswith("not-run:") else m for s, m in zip(scored, maps, strict=True)]
            else:
                status = maps
            found = tensors.get(f"values/{signature}")
            numbers = torch.full((len(maps),), float("nan"), dtype=torch.float64) if found is None else found.clone()
            numbers[torch.tensor([s != OK for s in status])] = float("nan")
            values[signature], statuses[signature] = numbers, status
        yield Part(start, values, statuses, _of(tensors, "curve/"), _of(tensors, "statistics/"))


def columns(context: Context, bound: BoundExplainer, of_set: str, signatures: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """The numbers [N] of some scores from their units, NaN where there is none."""
    found = [part.values for part in parts(context, bound, of_set)]
    return {signature: torch.cat([values[signature] for values in found]).numpy() for signature in signatures}


def _of(tensors: Mapping[str, T], prefix: str) -> dict[str, T]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _nothing(context: Context) -> typed.ResultCostScore:
    tally: typed.ResultCostScore = {"rows_asked": 0, "rows_run": 0, "explain_rows": 0, "seconds": 0.0}
    if isinstance(context.model.module, ByFrames):
        tally["frames_run"] = 0
    return tally


def _added(a: typed.ResultCostScore, b: typed.ResultCostScore) -> typed.ResultCostScore:
    """The cost of both; frames where the model looks at frames one by one."""
    total: typed.ResultCostScore = {
        "rows_asked": a["rows_asked"] + b["rows_asked"], "rows_run": a["rows_run"] + b["rows_run"],
        "explain_rows": a["explain_rows"] + b["explain_rows"], "seconds": a["seconds"] + b["seconds"]}
    if "frames_run" in a:
        total["frames_run"] = a["frames_run"] + b.get("frames_run", 0)
    return total


def _peak(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
