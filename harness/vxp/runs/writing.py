"""Results on disk: samples, curves, statistics, environment, and the document that binds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import torch
import vxp_schemas
from numpy.typing import NDArray
from torch import Tensor
from vxp_schemas import typed

from vxp import clock, stats

# and so they are part of this module's own names
from vxp.documents import FILES as FILES
from vxp.documents import TYPE as TYPE
from vxp.documents import Beside, store, streams
from vxp.documents import harness as harness
from vxp.documents import header as header
from vxp.documents import identity as identity
from vxp.documents import plain_json as plain_json
from vxp.documents import reference_rows as reference_rows
from vxp.explainers import BoundExplainer
from vxp.metrics import Bound
from vxp.runs import explanations, scoring
from vxp.runs.context import Context
from vxp.runs.environment import environment
from vxp.runs.result import TIE, can_tie, explainer, metric_reference, selection
from vxp.tasks import Task

SAMPLES = 1 << 14
"""Rows of a group of samples.parquet, which has two columns per score."""
REFERENCES = 1 << 16
"""Rows of a group of references.parquet."""


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of one explanation set, on disk: its tables are written, and read by the column."""

    bound: BoundExplainer
    set_folder: Path
    set_id: str
    folder: Path
    gathered: scoring.Gathered

    @cached_property
    def _samples(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.folder / FILES["samples"])

    def column(self, signature: str) -> tuple[NDArray[np.float64], list[str]]:
        """The numbers [N] of a score, NaN where there is none, and the status of every item."""
        read = self._samples.read([signature, f"{signature}#status"])
        values = read[signature].to_numpy()
        return np.where(np.isnan(values), np.nan, values), read[f"{signature}#status"].to_pylist()

    def statistics(self, signature: str) -> Tensor | None:
        """What a metric of the set keeps of every item [N, D]; None where it is no such metric, or was not run."""
        if signature not in self.gathered.statistics:
            return None
        with safetensors.safe_open(self.folder / FILES["statistics"], "pt") as file:
            found: Tensor = file.get_tensor(signature)
        return found


@clock.stage("files")
def tables(context: Context, bound: BoundExplainer, set_id: str) -> Scored:
    """Write samples, curves and statistics of a set from its units, one range after another in memory."""
    folder, found = context.out / "results" / set_id, scoring.gathered(context, set_id)
    n = len(context.task.items)
    x = {f"{signature}#x": torch.tensor(found.x.get(signature, ())) for signature in found.curves}
    said = {"curves": {**found.curves, **{key: streams.Array.like(along, len(along)) for key, along in x.items()}},
            "statistics": dict(found.statistics)}
    with ExitStack() as open_files:
        samples = open_files.enter_context(streams.table(folder / FILES["samples"], SAMPLES))
        files = {field: open_files.enter_context(streams.arrays(folder / FILES[cast(Beside, field)], arrays))
                 for field, arrays in said.items() if arrays}
        for key, along in x.items():
            files["curves"].write(key, 0, along)
        targets = explanations.Stored.of(explanations.folder(context, set_id)).items["target"]
        for part in scoring.parts(context, bound, set_id):
            stop = min(part.start + len(next(iter(part.status.values()))), n)
            samples.write(_samples(context.task, part, targets[part.start : stop]))
            for signature, array in found.curves.items():
                rows = part.curves.get(signature)
                # no curve where nothing of a range could be scored
                files["curves"].write(signature, part.start, torch.full(
                    (stop - part.start, *array.shape[1:]), float("nan")) if rows is None else rows)
            for signature, rows in part.statistics.items():
                # zeros where a range has none: the metric failed there, and no status is `ok`
                files["statistics"].write(signature, part.start, rows)
    return Scored(bound, explanations.folder(context, set_id), set_id, folder, found)


def _samples(task: Task, part: scoring.Part, targets: pa.ChunkedArray) -> dict[str, pa.Array]:
    items = task.items[part.start : part.start + len(targets)]
    columns = {
        "item_id": pa.array([item.id for item in items]),
        "cluster": pa.array([item.cluster for item in items]),
        "target": pa.array(targets.to_pylist(), pa.int32()),
        "explanation_id": pa.array([f"{item.id}/0" for item in items]),
        "repeat": pa.array([0] * len(items), pa.int16()),
    }
    for signature, values in part.values.items():
        columns[signature] = pa.array([None if v != v else v for v in values.tolist()], pa.float64())
        columns[f"{signature}#status"] = pa.array(part.status[signature])
    return columns


@clock.stage("files")
def write(
    context: Context, settings: typed.Settings, scored: Sequence[Scored], whole: typed.ResultCostRun, flags: Sequence[str] = (),
    looked: Mapping[str, typed.ResultSequential] = {},
) -> list[Path]:
    """Write environment and result of every scored set, whose tables are there; returns the result documents' paths.

    The fixed references stand in every result, so all sets of a run are written together. whole: the rows of the whole run.
    looked: by set what the looks of a run that may stop found.
    """
    out, task, model = context.out, context.task, context.model
    summaries = [[_summary(task, b, s) for b in context.metrics] for s in scored]
    beside: dict[str, tuple[Scored, list[typed.ResultScore]]] = {}
    for s, found in zip(scored, summaries, strict=True):
        if s.bound.explainer.reference:
            beside.setdefault(s.bound.id, (s, found))  # the default comes first, whatever else was asked for
    references: list[typed.ResultReference] = [
        {"explainer": s.bound.id, "result_id": s.set_id, "scores": [_beside(f) for f in found]}
        for s, found in beside.values()
    ]
    of_references = {name: s for name, (s, _) in beside.items()}
    tied = {b.signature for b in context.metrics if can_tie(b.metric) and _tie(b.signature, of_references)}
    for found in summaries:
        for score in found:
            if score["signature"] in tied:
                score["flags"] = [TIE]
    few = task.inference.few(item.cluster for item in task.items)
    raised = [*(["few-clusters"] if few else []), *flags]
    computed_on = environment(settings)
    vxp_schemas.validate(computed_on)
    kept = _reference_tables(context, of_references)
    paths = []
    for s, found in zip(scored, summaries, strict=True):
        store.write_bytes(s.folder / FILES["environment"], plain_json(computed_on))
        document = header(typed.Result) | {
            "result_id": s.set_id, "division": context.division, "task": task.reference, "dataset": task.dataset,
            "model": vxp_schemas.reference(model.document), "explainer": explainer(s.bound),
            "set": store.descriptor(s.set_folder / "set.json", out, store.JSON), "scores": found,
            "references": references, "inference": asdict(task.inference), "cost": {**s.gathered.cost, "run": whole},
            "samples": store.descriptor(s.folder / FILES["samples"], out, store.PARQUET, len(task.items)),
            "environment": store.descriptor(s.folder / FILES["environment"], out, store.JSON),
            "harness": harness(), "settings": settings, "flags": raised, **selection(task),
        }
        for field, (path, rows) in kept.items():
            copy = s.folder / FILES[field]
            store.copy(path, copy)
            document[field] = store.descriptor(copy, out, store.SAFETENSORS if rows is None else store.PARQUET, rows)
        arrays: dict[Beside, Mapping[str, streams.Array]] = {"curves": s.gathered.curves, "statistics": s.gathered.statistics}
        for field, there in arrays.items():
            if there:
                document[field] = store.descriptor(s.folder / FILES[field], out, store.SAFETENSORS)
        if s.set_id in looked:
            document["sequential"] = looked[s.set_id]
        store.write_document(s.folder / "result.json", document)
        paths.append(s.folder / "result.json")
    for path, _ in kept.values():
        path.unlink()
    return paths


def _reference_tables(context: Context, references: Mapping[str, Scored]) -> dict[Beside, tuple[Path, int | None]]:
    """The references' samples and statistics, written once for all results: by field, the file and its number of rows."""
    if not references:
        return {}
    kept: dict[Beside, tuple[Path, int | None]] = {}
    path, rows = context.units.folder / FILES["reference_samples"], 0
    with streams.table(path, REFERENCES) as table:
        for columns in _reference_samples(context, references):
            table.write(columns)
            rows += len(columns["value"])
    kept["reference_samples"] = path, rows
    said = {f"{name}/{signature}": array for name, s in references.items()
            for signature, array in s.gathered.statistics.items()}
    if said:
        path = context.units.folder / FILES["reference_statistics"]
        with streams.arrays(path, said) as file:
            for name, s in references.items():
                for signature in s.gathered.statistics:
                    found = s.statistics(signature)
                    assert found is not None
                    file.write(f"{name}/{signature}", 0, found)
        kept["reference_statistics"] = path, None
    return kept


def _reference_samples(context: Context, references: Mapping[str, Scored]) -> Iterator[dict[str, pa.Array]]:
    """One row per reference, score and item, in this order: a column per score would cost more in its name than in its
    numbers."""
    items, n = context.task.items, len(context.task.items)
    for name, s in references.items():
        for bound in context.metrics:
            values, status = s.column(bound.signature)
            for start in range(0, n, REFERENCES):
                some, numbers = items[start : start + REFERENCES], values[start : start + REFERENCES].tolist()
                yield {
                    "explainer": pa.array([name] * len(some)),
                    "signature": pa.array([bound.signature] * len(some)),
                    "item_id": pa.array([item.id for item in some]),
                    "cluster": pa.array([item.cluster for item in some]),
                    "value": pa.array([None if v != v else v for v in numbers], pa.float64()),
                    "status": pa.array(status[start : start + len(some)]),
                }


def _beside(score: typed.ResultScore) -> typed.ResultReferenceScore:
    """What a result says of a score of a reference."""
    fields = typed.ResultReferenceScore.__annotations__
    return cast(typed.ResultReferenceScore, {key: value for key, value in score.items() if key in fields})


@clock.stage("statistics")
def _tie(signature: str, references: Mapping[str, Scored]) -> bool:
    """Whether a reader of one score should know that no reference differs from another."""
    numbers = []
    for s in references.values():
        statistics = s.statistics(signature)
        numbers.append(s.column(signature)[0][:, None] if statistics is None else statistics.flatten(1).double().numpy())
    return bool(numbers) and stats.tie(numbers)


@clock.stage("statistics")
def _summary(task: Task, bound: Bound, s: Scored) -> typed.ResultScore:
    """One entry of `scores`: what the score is, and its aggregate."""
    clusters = [item.cluster for item in task.items]
    metric, (values, status) = bound.metric, s.column(bound.signature)
    statistics = s.statistics(bound.signature)
    numbers: stats.Aggregate
    if metric.reduce is None:
        numbers = stats.summary(values, status, clusters, stats.Scale.of(metric), seed=task.seed, inference=task.inference)
    elif statistics is None:  # not run: there is nothing to reduce
        numbers = {"n": len(status), "statuses": dict(Counter(status))}
    else:
        numbers = stats.set_summary(metric.reduce, statistics, status, clusters, range=metric.range,
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
