"""Task x explainers -> explanation sets -> results, in units of work that survive a kill.

The units are planned once (`vxp.runs.units`) and an executor does them: what all explainers share first, then the maps and
scores of every explainer for a range of items. The sets and results are written from their units at the end, one range after
another, so that memory does not grow with the items. The same command goes on where it was stopped, loses at most the units
under way, and ends with the same bytes of scores.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import vxp_schemas
from vxp_schemas import typed

from vxp import explainers, outputs
from vxp.core import VxpError
from vxp.documents import store
from vxp.explainers import BoundExplainer
from vxp.machine import computing, give_back_memory
from vxp.models import Model
from vxp.runs import baselines, explanations, foils, gallery, looking, result, scoring, units, writing
from vxp.runs.context import UNITS, Context
from vxp.runs.sets import CarriedSet, copied, read_set
from vxp.runs.units import Executor, Local, Stage, System
from vxp.stats import sequential
from vxp.stats.sequential import Until
from vxp.tasks import Task

LOCAL = Local()


def run(context: Context, wanted: Sequence[BoundExplainer], executor: Executor = LOCAL) -> list[Path]:
    """Explain and score: one result per explainer, the references included; returns the result documents' paths."""
    systems = with_references(context.task, ready(context.task, context.model, wanted))
    with claimed(context, run_document(context, systems, None)):
        return _results(context, [System.of(context, bound) for bound in systems], executor)


def score_set(
    context: Context, given: Path, again: BoundExplainer | None = None, executor: Executor = LOCAL
) -> list[Path]:
    """The same for an explanation set made before (by `explain_set` or an import), beside the references; again: its explainer,
    where it is not installed under its name."""
    carried = read_set(given, context.task, context.model, again)
    references = with_references(context.task, ())
    with claimed(context, run_document(context, [*references, carried.bound], carried)):
        copied(given, explanations.folder(context, carried.set_id))
        systems = [System.of(context, bound) for bound in references]
        return _results(context, [*systems, System(carried.bound, carried.set_id, carried=True)], executor)


def explain_set(context: Context, bound: BoundExplainer, executor: Executor = LOCAL) -> Path:
    """Write one explanation set: set.json, items.parquet, payload/, system.json."""
    (bound,) = ready(context.task, context.model, [bound])
    with claimed(context, run_document(context, [bound], None)):
        if not (context.out / "set.json").exists():
            system = System.of(context, bound)
            prepared(context, [system], executor)
            _do(context, [system], ("explain",), executor)
            explanations.gather(context, bound, system.set_id, context.out)
        store.write_document(context.out / "system.json", result.system(bound))
    return context.out / "set.json"


def prepared(context: Context, systems: Sequence[System], executor: Executor = LOCAL) -> None:
    """Do what comes before any explainer: targets, predictions, and the rows that all of them read."""
    left = units.shared(context)
    if left:
        context.progress.stage("rows that all explainers share", sum(work.items for work in left))
        executor.do(context, systems, left)
    baselines.check_finite(context)


def _do(context: Context, systems: Sequence[System], stages: Sequence[Stage], executor: Executor) -> None:
    """Do what is left of these stages."""
    left = units.planned(context, systems, stages)
    if left:
        verbs = {"explain": "explaining", "score": "scoring"}
        context.progress.stage(" and ".join(verbs[stage] for stage in stages), sum(work.items for work in left), "map")
        executor.do(context, systems, left)


def _results(context: Context, systems: Sequence[System], executor: Executor) -> list[Path]:
    """Do all units of these systems, and write their sets and results."""
    # what the results refer to by digest; nobody else has the documents of an unregistered task or model
    store.write_document(context.out / "task.json", context.task.document)
    store.write_document(context.out / "model.json", context.model.document)
    looked: dict[str, typed.ResultSequential] = {}
    if context.settings.until is None:
        prepared(context, systems, executor)
        _do(context, systems, ("explain", "score"), executor)
    else:
        context, looked = _decided(context, context.settings.until, systems, executor)
    gallery.keep(context)
    foils.keep(context, [system.set_id for system in systems])
    context.progress.stage("writing sets and results", len(systems), "explainer")
    scored = []
    for system in systems:
        if not system.carried:
            explanations.gather(context, system.bound, system.set_id, explanations.folder(context, system.set_id))
        store.write_document(context.out / "systems" / f"{system.set_id}.json", result.system(system.bound))
        scored.append(writing.tables(context, system.bound, system.set_id))
        give_back_memory()
        context.progress.items(1)
    shared = [(b.rows_run, b.batch_size) for b in baselines.all_of(context)]
    costs = [s.gathered.cost["score"] for s in scored]
    whole: typed.ResultCostRun = {
        "explainers": len(systems), "rows_shared": sum(rows for rows, _ in shared),
        "rows_asked": sum(cost["rows_asked"] for cost in costs),
        "rows_run": sum(rows for rows, _ in shared) + sum(cost["rows_run"] for cost in costs)}
    least = min([*(size for _, size in shared), *(s.gathered.batch_size for s in scored)])
    settings = context.settings_document
    if least < context.settings.batch_size:
        settings["batch_size_run"] = least
    return writing.write(context, settings, scored, whole, _flags(context.task), looked)


def _decided(
    context: Context, question: Until, systems: Sequence[System], executor: Executor
) -> tuple[Context, dict[str, typed.ResultSequential]]:
    """Do the units of ever more clusters until the question is decided (7.5.5): the run of the items that it took, and by set
    what was found. run.json names these items."""
    task = context.task
    asked = looking.asked(task, question, context.metrics)
    signatures = [score["signature"] for score in asked]
    for clusters in sequential.looks(len({item.cluster for item in task.items}), task.inference.min_clusters):
        context = context.on(task.first(clusters))
        prepared(context, systems, executor)
        _do(context, systems, ("explain", "score"), executor)
        looked = looking.look(context.task, question, asked, [
            looking.Scores(s.set_id, s.bound.id, s.bound.explainer.reference,
                           scoring.columns(context, s.bound, s.set_id, signatures)) for s in systems])
        left = looked[systems[0].set_id]["looks"][-1]["undecided"]
        context.progress.stage(f"looked after {clusters} clusters, {left} undecided", len(context.task.items))
        context.progress.items(len(context.task.items))
        if not left:
            break
    stored = context.out / "run.json"
    there = store.read_document(stored, typed.Run)
    of_these: typed.Run = {**there, "task": context.task.reference, "settings": context.settings_document,
                           **result.selection(context.task)}
    if of_these != there:
        store.write_document(stored, of_these)
    return context, looked


def ready(task: Task, model: Model, wanted: Sequence[BoundExplainer]) -> list[BoundExplainer]:
    """The explainers for this model at the task's budget; VxpError where one cannot explain it."""
    output = outputs.of(model.module)
    return [_at_budget(task, bound.on(*task.kinds).of(output).resolved(model.module)) for bound in wanted]


def with_references(task: Task, wanted: Sequence[BoundExplainer]) -> list[BoundExplainer]:
    """The references that the task admits, at its budget, then what was asked for, each once."""
    known = explainers.catalogue()
    names = [n for n in explainers.references(task.truth, *(kind.id for kind in task.kinds)) if n in known]
    unique: dict[str, BoundExplainer] = {}
    for bound in [*(_at_budget(task, explainers.bind(n).on(*task.kinds)) for n in names), *wanted]:
        if "truth" in bound.explainer.needs and not task.truth:
            raise VxpError(f"explainer {bound.id!r} needs truth, and task {task.name} has none: leave it out")
        if bound.id in explainers.REFERENCES and not bound.explainer.reference:
            raise VxpError(f"an explainer is called {bound.id!r}, which is the name of a reference that stands beside every "
                           "result: give yours another name")
        unique.setdefault(bound.name, bound)
    return list(unique.values())


def _at_budget(task: Task, bound: BoundExplainer) -> BoundExplainer:
    """Parameters that the task's card fixes (such as RISE's number of masks), unless they were set by name."""
    fixed = task.budget.get("explainers", {}).get(bound.id, {})
    untouched = {k: v for k, v in fixed.items() if bound.parameters[k] == bound.explainer.parameters[k]}
    return dataclasses.replace(bound, parameters=dict(bound.parameters) | untouched)


def _flags(task: Task) -> list[str]:
    return [] if task.taken is None else ["sequential" if task.taken.drawn else "limited"]


def run_document(context: Context, systems: Sequence[BoundExplainer], carried: CarriedSet | None) -> typed.Run:
    return result.header(typed.Run) | {
        "division": context.division, "task": context.task.reference, "dataset": context.task.dataset,
        "model": vxp_schemas.reference(context.model.document),
        "explainers": [result.method(b) for b in systems], "metrics": [b.signature for b in context.metrics],
        "settings": context.settings_document, **result.selection(context.task),
        **({} if carried is None else {"set": carried.digest}),
    }


@contextmanager
def claimed(context: Context, document: typed.Run) -> Iterator[None]:
    """Claims the output folder for this run before any work, alone, and computes with its threads."""
    out = context.out
    stored = out / "run.json"
    if not stored.exists() and out.exists() and any(p.name != UNITS for p in out.iterdir()):
        raise VxpError(f"--out {out} is not empty and holds no VXP run: got {sorted(os.listdir(out))[:3]}; "
                       "expected a new or empty folder, or one of the same run to go on with")
    with store.alone(out / UNITS / "lock"), computing(context.settings.threads):
        if not stored.exists():
            store.write_document(stored, document)
        there = store.read_document(stored, typed.Run)
        _same_run(stored, there, document)
        if there["explainers"] != document["explainers"]:
            store.write_document(stored, document)
        yield


def _lasting(run: typed.Run) -> dict[str, Any]:
    """What of a run stays when it goes on: not its explainers, which may become more, nor its items with a question to stop
    at."""
    kept: dict[str, Any] = {k: v for k, v in run.items() if k not in ("created", "generator", "explainers")}
    if "until" in run["settings"]:
        del kept["selection"]
        kept["settings"] = {k: v for k, v in run["settings"].items() if k != "limit"}
        kept["task"] = {"id": run["task"]["id"], "version": run["task"]["version"]}
    return kept


def _same_run(path: Path, there: typed.Run, wanted: typed.Run) -> None:
    """VxpError unless what is wanted is the run that is there, or that run with more explainers."""
    before = _lasting(there)
    fixed = [(k, before.get(k), asked) for k, asked in _lasting(wanted).items()]
    differs = [f"{k}: {was!r} there, {asked!r} asked" for k, was, asked in fixed if was != asked]
    left_out = [method for method in there["explainers"] if method not in wanted["explainers"]]
    if left_out:
        differs.append(f"explainers: {left_out!r} there and not asked")
    if differs:
        raise VxpError(f"{path.parent} holds another run ({'; '.join(differs)}). Choose another --out, or repeat the "
                       "command of that run, perhaps with more explainers, to go on with it")
