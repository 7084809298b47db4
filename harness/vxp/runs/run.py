"""Task x explainers -> explanation sets -> results, in units of work that survive a kill.

A unit is (stage, explainer, range of items) and a pure function of its inputs. Its file is written whole and never done
again, so the same command goes on where it was stopped, loses at most the unit under way, and ends with the same bytes
of scores. What depends on the item and the fill only is a unit of its own that all explainers read.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import vxp_schemas
from vxp_schemas import typed

from vxp import explainers
from vxp.core import VxpError
from vxp.documents import store
from vxp.explainers import BoundExplainer
from vxp.machine import computing
from vxp.models import Model
from vxp.runs import result
from vxp.runs.baselines import Baseline, baselines_of
from vxp.runs.context import UNITS, Context, log
from vxp.runs.explanations import explain, set_id
from vxp.runs.gallery import keep
from vxp.runs.scoring import score
from vxp.runs.sets import CarriedSet, copied, read_set
from vxp.runs.writing import write
from vxp.stats import sequential
from vxp.tasks import Task


def run(context: Context, wanted: Sequence[BoundExplainer]) -> list[Path]:
    """Explain and score: one result per explainer, the references included; returns the result documents' paths. With a
    question to stop at, of ever more clusters until it is decided."""
    if context.until is None:
        return _run(context, wanted)
    task, stored = context.task, context.out / "run.json"
    begun = (store.read_document(stored, typed.Run)["settings"]["limit"] or 0) if stored.exists() else 0
    for clusters in sequential.looks(len({item.cluster for item in task.items}), task.inference.min_clusters):
        more = dataclasses.replace(context, task=task.first(clusters))
        if len(more.task.items) < begun:
            continue
        paths = _run(more, wanted)
        looked = store.read_document(paths[0], typed.Result)["sequential"]["looks"][-1]
        log.info("after %d clusters, %d items: %d undecided", looked["clusters"], looked["items"], looked["undecided"])
        if not looked["undecided"]:
            break
    return paths


def _run(context: Context, wanted: Sequence[BoundExplainer]) -> list[Path]:
    systems = with_references(context.task, ready(context.task, context.model, wanted))
    with claimed(context, run_document(context, systems, None)):
        baselines = _begun(context)
        written = [(bound, _explained(context, bound, baselines)) for bound in systems]
        return _scored(context, written, baselines)


def score_set(context: Context, given: Path, again: BoundExplainer | None = None) -> list[Path]:
    """The same for an explanation set made before (by `explain_set` or an import), beside the references; again: its explainer,
    where it is not installed under its name."""
    carried = read_set(given, context.task, context.model, again)
    references = with_references(context.task, ())
    with claimed(context, run_document(context, [*references, carried.bound], carried)):
        baselines = _begun(context)
        written = [(bound, _explained(context, bound, baselines)) for bound in references]
        folder = context.out / "explanations" / carried.set_id
        copied(given, folder)
        _keep_system(context, carried.bound, folder)
        return _scored(context, [*written, (carried.bound, folder)], baselines)


def explain_set(context: Context, bound: BoundExplainer) -> Path:
    """Write one explanation set: set.json, items.parquet, payload/, system.json."""
    (bound,) = ready(context.task, context.model, [bound])
    with claimed(context, run_document(context, [bound], None)):
        if not (context.out / "set.json").exists():
            explain(context, bound, baselines_of(context), context.out)
        store.write_document(context.out / "system.json", result.system(bound))
    return context.out / "set.json"


def _begun(context: Context) -> dict[int, Baseline]:
    """What comes before any explainer: the documents, the baselines, the gallery."""
    # what the results refer to by digest; nobody else has the documents of an unregistered task or model
    store.write_document(context.out / "task.json", context.task.document)
    store.write_document(context.out / "model.json", context.model.document)
    baselines = baselines_of(context)
    keep(context, baselines)
    return baselines


def _explained(context: Context, bound: BoundExplainer, baselines: Mapping[int, Baseline]) -> Path:
    """The folder of an explainer's set, made where it is not there."""
    folder = context.out / "explanations" / set_id(context, bound)
    if not _whole(folder / "set.json", context.task):
        explain(context, bound, baselines, folder)
    _keep_system(context, bound, folder)
    return folder


def _whole(path: Path, task: Task) -> bool:
    """Whether the set that is there has all items: that of a run that goes on may have less."""
    return path.exists() and store.read_document(path, typed.Set)["n_items"]["expected"] == len(task.items)


def _keep_system(context: Context, bound: BoundExplainer, folder: Path) -> None:
    store.write_document(context.out / "systems" / f"{folder.name}.json", result.system(bound))


def _scored(
    context: Context, written: Sequence[tuple[BoundExplainer, Path]], baselines: Mapping[int, Baseline]
) -> list[Path]:
    scored = [score(context, bound, folder, baselines) for bound, folder in written]
    least = min([*(b.batch_size for b in baselines.values()), *(s.batch_size for s in scored)])
    settings = context.settings_document
    if least < context.settings.batch_size:
        settings["batch_size_run"] = least
    return write(context, settings, scored, _flags(context.task))


def ready(task: Task, model: Model, wanted: Sequence[BoundExplainer]) -> list[BoundExplainer]:
    """The explainers for this model at the task's budget; VxpError where one cannot explain it."""
    return [_at_budget(task, bound.on(task.kind).resolved(model.module)) for bound in wanted]


def with_references(task: Task, wanted: Sequence[BoundExplainer]) -> list[BoundExplainer]:
    """The references that the task admits, then what was asked for, each once."""
    known = explainers.catalogue()
    names = [n for n in explainers.references(task.truth, task.kind.id) if n in known]
    unique: dict[str, BoundExplainer] = {}
    for bound in [*(explainers.bind(n).on(task.kind) for n in names), *wanted]:
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
        if there["explainers"] != document["explainers"] or there["settings"] != document["settings"]:
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
