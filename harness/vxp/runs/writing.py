"""Results on disk: samples, curves, statistics, environment, and the document that binds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import safetensors.torch
import torch
import vxp_schemas
from vxp_schemas import typed

from vxp import stats
from vxp.core import OK, Outcome

# and so they are part of this module's own names
from vxp.documents import FILES as FILES
from vxp.documents import TYPE as TYPE
from vxp.documents import Beside, store
from vxp.documents import harness as harness
from vxp.documents import header as header
from vxp.documents import identity as identity
from vxp.documents import plain_json as plain_json
from vxp.documents import reference_rows as reference_rows
from vxp.explainers import BoundExplainer
from vxp.metrics import Bound
from vxp.runs import looking
from vxp.runs.context import Context
from vxp.runs.environment import environment
from vxp.runs.result import TIE, can_tie, explainer, metric_reference, selection
from vxp.tasks import Task


@dataclass(frozen=True, eq=False)
class Scored:
    """All scores of one explanation set, before they are written."""

    bound: BoundExplainer
    set_folder: Path
    set_id: str
    targets: Sequence[int]
    scores: Mapping[str, tuple[Bound, Outcome]]
    cost: typed.ResultCost
    batch_size: int  # the smallest that ran


def write(context: Context, settings: typed.Settings, scored: Sequence[Scored], flags: Sequence[str] = ()) -> list[Path]:
    """Write samples, curves, environment and result of every scored set; returns the result documents' paths.

    The fixed references stand in every result, so all sets of a run are written together.
    """
    out, task, model = context.out, context.task, context.model
    summaries = [[_summary(task, b, o) for b, o in s.scores.values()] for s in scored]
    beside: dict[str, tuple[Scored, list[typed.ResultScore]]] = {}
    for s, found in zip(scored, summaries, strict=True):
        if s.bound.explainer.reference:
            beside.setdefault(s.bound.id, (s, found))  # the default comes first, whatever else was asked for
    references: list[typed.ResultReference] = [
        {"explainer": s.bound.id, "result_id": s.set_id, "scores": [_beside(f) for f in found]}
        for s, found in beside.values()
    ]
    of_references = {name: s.scores for name, (s, _) in beside.items()}
    for found in summaries:
        for score in found:
            if _tie(score["signature"], of_references):
                score["flags"] = [TIE]
    looked = {} if context.until is None else looking.look(task, context.until, summaries[0], [
        looking.Scores(s.set_id, s.bound.id, s.bound.explainer.reference,
                       {sig: np.array(_numbers(o), np.float64) for sig, (_, o) in s.scores.items()}) for s in scored])
    few = task.inference.few(item.cluster for item in task.items)
    raised = [*(["few-clusters"] if few else []), *flags]
    computed_on = environment(settings)
    vxp_schemas.validate(computed_on)
    paths = []
    for s, found in zip(scored, summaries, strict=True):
        folder = out / "results" / s.set_id
        store.write_table(folder / FILES["samples"], _samples(task, s))
        curves = {k: v for sig, (_, o) in s.scores.items() if o.curve is not None
                  for k, v in ((sig, o.curve.float()), (f"{sig}#x", torch.tensor(o.x)))}
        store.write_bytes(folder / FILES["environment"], plain_json(computed_on))
        document = header(typed.Result) | {
            "result_id": s.set_id, "division": context.division, "task": task.reference, "dataset": task.dataset,
            "model": vxp_schemas.reference(model.document), "explainer": explainer(s.bound),
            "set": store.descriptor(s.set_folder / "set.json", out, store.JSON), "scores": found,
            "references": references, "inference": asdict(task.inference), "cost": s.cost,
            "samples": store.descriptor(folder / FILES["samples"], out, store.PARQUET, len(task.items)),
            "environment": store.descriptor(folder / FILES["environment"], out, store.JSON),
            "harness": harness(), "settings": settings, "flags": raised, **selection(task),
        }
        if s.set_id in looked:
            document["sequential"] = looked[s.set_id]
        if references:
            table = _reference_samples(task, of_references)
            store.write_table(folder / FILES["reference_samples"], table)
            document["reference_samples"] = store.descriptor(folder / FILES["reference_samples"], out, store.PARQUET,
                                                             len(table["item_id"]))
        statistics = {sig: o.statistics.contiguous() for sig, (_, o) in s.scores.items() if o.statistics is not None}
        kept = {f"{name}/{sig}": o.statistics.contiguous() for name, found in of_references.items()
                for sig, (_, o) in found.items() if o.statistics is not None}
        arrays: dict[Beside, dict[str, torch.Tensor]] = {
            "curves": curves, "statistics": statistics, "reference_statistics": kept}
        for field, tensors in arrays.items():
            if tensors:
                store.write_bytes(folder / FILES[field], safetensors.torch.save(tensors))
                document[field] = store.descriptor(folder / FILES[field], out, store.SAFETENSORS)
        store.write_document(folder / "result.json", document)
        paths.append(folder / "result.json")
    return paths


def _samples(task: Task, s: Scored) -> dict[str, pa.Array]:
    columns = {
        "item_id": pa.array([item.id for item in task.items]),
        "cluster": pa.array([item.cluster for item in task.items]),
        "target": pa.array(list(s.targets), pa.int32()),
        "explanation_id": pa.array([f"{item.id}/0" for item in task.items]),
        "repeat": pa.array([0] * len(task.items), pa.int16()),
    }
    for signature, (_, found) in s.scores.items():
        columns[signature] = pa.array(_numbers(found), pa.float64())
        columns[f"{signature}#status"] = pa.array(found.status)
    return columns


def _numbers(found: Outcome) -> list[float | None]:
    return [v if state == OK and v == v else None for v, state in zip(found.values.tolist(), found.status, strict=True)]


Scores = Mapping[str, tuple[Bound, Outcome]]
"""Scores by signature."""


def _reference_samples(task: Task, references: Mapping[str, Scores]) -> dict[str, pa.Array]:
    """One row per reference, score and item, in this order: a column per score would cost more in its name than in its
    numbers."""
    rows = [(name, signature, found) for name, scores in references.items() for signature, (_, found) in scores.items()]
    n = len(task.items)
    return {
        "explainer": pa.array([name for name, _, _ in rows for _ in range(n)]),
        "signature": pa.array([signature for _, signature, _ in rows for _ in range(n)]),
        "item_id": pa.array([item.id for item in task.items] * len(rows)),
        "cluster": pa.array([item.cluster for item in task.items] * len(rows)),
        "value": pa.array([value for _, _, found in rows for value in _numbers(found)], pa.float64()),
        "status": pa.array([status for _, _, found in rows for status in found.status]),
    }


def _beside(score: typed.ResultScore) -> typed.ResultReferenceScore:
    """What a result says of a score of a reference."""
    fields = typed.ResultReferenceScore.__annotations__
    return cast(typed.ResultReferenceScore, {key: value for key, value in score.items() if key in fields})


def _tie(signature: str, references: Mapping[str, Scores]) -> bool:
    """Whether a reader of one score should know that no reference differs from another."""
    found = [scores[signature] for scores in references.values() if signature in scores]
    numbers = [(o.values[:, None] if o.statistics is None else o.statistics.flatten(1)).double().numpy() for _, o in found]
    return bool(found) and can_tie(found[0][0].metric) and stats.tie(numbers)


def _summary(task: Task, bound: Bound, found: Outcome) -> typed.ResultScore:
    """One entry of `scores`: what the score is, and its aggregate."""
    clusters = [item.cluster for item in task.items]
    metric = bound.metric
    numbers: stats.Aggregate
    if metric.reduce is None:
        numbers = stats.summary(found.values.numpy(), list(found.status), clusters, stats.Scale.of(metric),
                                seed=task.seed, inference=task.inference)
    elif found.statistics is None:  # not run: there is nothing to reduce
        numbers = {"n": len(found.status), "statuses": dict(Counter(found.status))}
    else:
        numbers = stats.set_summary(metric.reduce, found.statistics, list(found.status), clusters, range=metric.range,
                                    level=task.inference.level)
    score: typed.ResultScore = {
        "signature": bound.signature, "metric": metric_reference(metric), "family": metric.family, "better": metric.better,
        "range": list(metric.range), "level": metric.level, "n": numbers["n"], "statuses": numbers["statuses"]}
    for field in ("mean", "median", "mean_worst_bound", "sd"):
        if field in numbers:
            score[field] = numbers[field]
    if "ci" in numbers:
        score["ci"] = {**numbers["ci"], "cluster_key": task.cluster_key}
    return score
