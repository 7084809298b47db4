"""The documents of a run: what produced each number, how it was averaged, and on what."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import platform
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.torch
import torch
import vxp_schemas

from vxp import stats
from vxp.core import OK, Metric, Outcome, Reduce, VxpError

# and so they are part of this module's own names
from vxp.documents import FILES as FILES
from vxp.documents import TYPE as TYPE
from vxp.documents import harness as harness
from vxp.documents import header as header
from vxp.documents import identity as identity
from vxp.documents import plain_json as plain_json
from vxp.documents import reference_rows as reference_rows
from vxp.documents import store
from vxp.explainers import BoundExplainer
from vxp.metrics import Bound, catalogue
from vxp.models import Model
from vxp.origin import origin
from vxp.tasks import Task

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "PYTHONHASHSEED")
"""Environment variables that can change numbers or speed; no others are recorded."""

TIE = "references-tie"
"""The flag of a score in which no reference differs from another."""


# ------------------------------------------------------------------------------------------------------ common pieces


def json_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON values; what JSON cannot say is named by its repr."""
    simple = (str, int, float, bool, type(None))
    return {k: v if isinstance(v, simple) else list(v) if isinstance(v, tuple | list) else repr(v)
            for k, v in parameters.items()}


def method(bound: BoundExplainer) -> dict[str, Any]:
    return {"id": bound.id, "parameters": json_parameters(bound.parameters)}


def selection(task: Task) -> dict[str, Any]:
    """The field `selection` of a run and its results: what was taken of the task, under a limit only."""
    return {} if task.selection is None else {"selection": task.selection.document()}


def explainer(bound: BoundExplainer) -> dict[str, Any]:
    declared = bound.explainer
    return method(bound) | {
        "signed": declared.signed, "resample": declared.resample, "target_specific": declared.target_specific,
        "reference": declared.reference, "family": declared.family,
    }


def metric_document(metric: Metric) -> dict[str, Any]:
    """The registry document of a metric, read from its declaration: the one source of its facts."""
    types = {bool: "boolean", int: "integer", float: "number", str: "string"}
    text = inspect.getdoc(metric.plan) or metric.id
    return {
        "type": TYPE.format("metric"), "spec_version": vxp_schemas.SPEC_VERSION, "extensions": {},
        "id": metric.id, "version": metric.version, "status": "active", "definition": text.split("\n\n")[0].replace("\n", " "),
        "clause": f"spec/metrics/{metric.id}.md", "family": metric.family, "kinds": list(metric.kinds), "level": metric.level,
        "better": metric.better, "range": list(metric.range),
        "parameters": [{"name": k, "type": types[type(v)], "default": v, **_limit(metric.limits.get(k, ()))}
                       for k, v in metric.parameters.items()],
        "truth": list(metric.truth), "re_explains": metric.re_explains,
        **({"needs_relabelled": True} if metric.needs_relabelled else {}), "undefined": list(metric.undefined),
        "known_failure_modes": list(metric.caveats), "source": metric.source,
    }


def _limit(limit: tuple[Any, ...]) -> dict[str, Any]:
    """What a parameter may be, in the words of a JSON Schema."""
    if all(isinstance(word, str) for word in limit):
        return {"values": list(limit)} if limit else {}
    low, high = limit
    return {key: value for key, value in (("minimum", low), ("maximum", high)) if value is not None}


@cache
def metric_reference(metric: Metric) -> dict[str, Any]:
    return dict(vxp_schemas.reference(metric_document(metric)))


def system(bound: BoundExplainer) -> dict[str, Any]:
    """The document of the system that made the maps: method, parameters and implementation."""
    if bound.system is not None:
        return dict(bound.system)
    declared = bound.explainer
    function = inspect.unwrap(declared.explain)
    passed = {k: v for k, v in bound.parameters.items() if v != declared.parameters[k]}
    implementation: dict[str, Any] = {"entry_point": f"{function.__module__}:{getattr(function, '__name__', declared.id)}"}
    with contextlib.suppress(TypeError, OSError):  # defined in a notebook cell: there is no file to digest
        implementation["source_digest"] = store.digest(Path(inspect.getfile(function)).read_bytes())
    if found := origin(function.__module__):
        implementation |= dict(zip(("package", "version"), found, strict=True))
    return header("system") | {
        "method": {
            "name": declared.id, "family": declared.family, "parameters": json_parameters(bound.parameters),
            "parameters_passed": json_parameters(passed), "deterministic": True, "seeds": [],
            "needs": {"gradients": "gradients" in declared.needs, "activations": "activations" in declared.needs,
                      "layer": "layer" in declared.needs, "truth": "truth" in declared.needs,
                      "training_data": "training_data" in declared.needs,
                      "passes_per_map": bound.passes},
            **({"source": declared.source} if declared.source else {}),
        },
        "implementation": implementation, "normalization": "none",
        "trained_components": [] if declared.training is None else declared.training.components(**bound.parameters),
    }


def system_digest(bound: BoundExplainer) -> str:
    """Digest of what the system is, without when and by which build the document was written."""
    return identity(system(bound))


# --------------------------------------------------------------------------------------------------- explanation set


def explanation_set(
    *, set_id: str, task: Task, model: Model, bound: BoundExplainer, root: Path, shards: Sequence[Mapping[str, Any]],
    status: Sequence[str],
) -> dict[str, Any]:
    """The manifest set.json of maps that lie beside it."""
    return header("set") | {
        "set_id": set_id, "kind": task.kind.id, "task": task.reference, "dataset": task.dataset,
        "model": dict(vxp_schemas.reference(model.document)), "system": system_digest(bound), "explainer": explainer(bound),
        "n_items": {"expected": len(status), "present": len(status)}, "coverage": 1.0,
        "items": store.descriptor(root / "items.parquet", root, store.PARQUET, len(status)), "shards": list(shards),
        "coordinate_frame": "model_input",
        "semantics": {"higher_means": "evidence_for" if bound.explainer.signed else "importance", "normalized": "none"},
        "quantization": "none", "randomness": {"seed": task.seed, "rule": "philox-per-item", "repeats": 1},
    }


# ------------------------------------------------------------------------------------------------------------ results


@dataclass(frozen=True, eq=False)
class Scored:
    """All scores of one explanation set, before they are written."""

    bound: BoundExplainer
    set_folder: Path
    set_id: str
    targets: Sequence[int]
    scores: Mapping[str, tuple[Bound, Outcome]]
    cost: Mapping[str, Any]
    batch_size: int  # the smallest that ran


def write(
    out: Path, task: Task, model: Model, settings: Mapping[str, Any], scored: Sequence[Scored], flags: Sequence[str] = (), *,
    division: str,
) -> list[Path]:
    """Write samples, curves, environment and result of every scored set; returns the result documents' paths.

    The fixed references stand in every result, so all sets of a run are written together.
    """
    summaries = [[_summary(task, b, o) for b, o in s.scores.values()] for s in scored]
    beside: dict[str, tuple[Scored, list[dict[str, Any]]]] = {}
    for s, found in zip(scored, summaries, strict=True):
        if s.bound.explainer.reference:
            beside.setdefault(s.bound.id, (s, found))  # the default comes first, whatever else was asked for
    references = [
        {"explainer": s.bound.id, "result_id": s.set_id,
         "scores": [{k: v for k, v in f.items() if k in ("signature", "n", "statuses", "mean", "ci")} for f in found]}
        for s, found in beside.values()
    ]
    of_references = {name: s.scores for name, (s, _) in beside.items()}
    summaries = [[f | _flags(f["signature"], of_references) for f in found] for found in summaries]
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
        document = header("result") | {
            "result_id": s.set_id, "division": division, "task": task.reference, "dataset": task.dataset,
            "model": dict(vxp_schemas.reference(model.document)), "explainer": explainer(s.bound),
            "set": store.descriptor(s.set_folder / "set.json", out, store.JSON), "scores": found,
            "references": references, "inference": asdict(task.inference), "cost": dict(s.cost),
            "samples": store.descriptor(folder / FILES["samples"], out, store.PARQUET, len(task.items)),
            "environment": store.descriptor(folder / FILES["environment"], out, store.JSON),
            "harness": harness(), "settings": dict(settings), "flags": raised, **selection(task),
        }
        if references:
            table = _reference_samples(task, of_references)
            store.write_table(folder / FILES["reference_samples"], table)
            document["reference_samples"] = store.descriptor(folder / FILES["reference_samples"], out, store.PARQUET,
                                                             len(table["item_id"]))
        statistics = {sig: o.statistics.contiguous() for sig, (_, o) in s.scores.items() if o.statistics is not None}
        kept = {f"{name}/{sig}": o.statistics.contiguous() for name, found in of_references.items()
                for sig, (_, o) in found.items() if o.statistics is not None}
        for field, tensors in (("curves", curves), ("statistics", statistics), ("reference_statistics", kept)):
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


def _flags(signature: str, references: Mapping[str, Scores]) -> dict[str, Any]:
    """What a reader of one score should know, as a field of its entry; no field where that is nothing."""
    found = [scores[signature] for scores in references.values() if signature in scores]
    numbers = [(o.values[:, None] if o.statistics is None else o.statistics.flatten(1)).double().numpy() for _, o in found]
    return {"flags": [TIE]} if found and can_tie(found[0][0].metric) and stats.tie(numbers) else {}


def can_tie(metric: Metric) -> bool:
    """Whether references that tie mean that the column says nothing: to a metric that explains again all references are
    alike by what they are, since they do not depend on the model."""
    return not metric.re_explains


def _summary(task: Task, bound: Bound, found: Outcome) -> dict[str, Any]:
    """One entry of `scores`: what the score is, and its aggregate."""
    clusters = [item.cluster for item in task.items]
    metric = bound.metric
    if metric.reduce is None:
        numbers = stats.summary(found.values.numpy(), list(found.status), clusters, better=metric.better, range=metric.range,
                                binary=metric.binary, seed=task.seed, inference=task.inference)
    elif found.statistics is None:  # not run: there is nothing to reduce
        numbers = {"n": len(found.status), "statuses": dict(Counter(found.status))}
    else:
        numbers = stats.set_summary(metric.reduce, found.statistics, list(found.status), clusters, range=metric.range,
                                    level=task.inference.level)
    if "ci" in numbers:
        numbers["ci"] = dict(numbers["ci"]) | {"cluster_key": task.cluster_key}
    return {"signature": bound.signature, "metric": metric_reference(metric), "family": metric.family,
            "better": metric.better, "range": list(metric.range), "level": metric.level, **numbers}


# --------------------------------------------------------------------------------------------- numbers of the set again


def read_kept(
    read: Callable[[Mapping[str, Any]], bytes], document: Mapping[str, Any], statuses: Mapping[str, Sequence[str]],
    field: str = "statistics",
) -> dict[str, stats.Kept]:
    """Per score at level set what was kept of every item, from a result and the statuses of its samples; `read` gives the
    bytes of a descriptor. VxpError where they disagree.

    field: "statistics", or "reference_statistics", whose names (and those of `statuses`) are `<explainer>/<signature>`.
    """
    if field not in document:
        return {}
    found = safetensors.torch.load(read(document[field]))
    for signature, statistics in found.items():
        rows = len(statuses.get(signature, ()))
        if len(statistics) != rows:
            raise VxpError(f"{document[field]['path']} keeps {len(statistics)} rows of {signature!r}, expected "
                           f"{rows}, one for every row of the samples, which have its status")
    return {signature: stats.Kept(statistics, np.array([s == OK for s in statuses[signature]], bool))
            for signature, statistics in found.items()}


def families(task: Mapping[str, Any], scores: Sequence[Mapping[str, Any]]) -> list[str]:
    """The families of these scores in their order, the one that the task is for first, where the registry has its card."""
    card = vxp_schemas.registry("tasks").get(f"{task['id']}@{task['version']}", {})
    return sorted(dict.fromkeys(s["family"] for s in scores), key=lambda family: family != card.get("primary_family"))


def reduction(signature: str) -> Reduce | None:
    """What makes the set's number of this score; None where the metric is not installed here in this version."""
    known = catalogue().get(signature.partition("@")[0])
    return known.reduce if known is not None and known.name == signature.partition("|")[0] else None


# -------------------------------------------------------------------------------------------------------- environment


def environment(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the numbers were computed on."""
    gpus = []
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(i)
            uuid = hashlib.sha256(str(getattr(card, "uuid", card.name)).encode()).hexdigest()
            gpus.append({"name": card.name, "memory_bytes": card.total_memory, "uuid_digest": f"sha256:{uuid}"})
    cpu: dict[str, Any] = {"architecture": platform.machine(), "cores": os.cpu_count() or 1}
    if name := _cpu_name():
        cpu["model"] = name
    return header("environment") | {
        "os": platform.platform(), "kernel": platform.release(), "python": sys.version.split()[0],
        "packages": [{"name": name, "version": found} for name, found in _packages()], "cpu": cpu, "gpus": gpus,
        **({"cuda": torch.version.cuda} if torch.version.cuda else {}),
        "variables": {k: os.environ[k] for k in VARIABLES if k in os.environ},
        "determinism": {"threads": settings["threads"], "precision": settings["precision"],
                        "cudnn-benchmark": torch.backends.cudnn.benchmark},
    }


@cache
def _packages() -> list[tuple[str, str]]:
    """Names and versions of what is installed. Once in a process: it reads the metadata of hundreds of packages, and every
    result has an environment."""
    return sorted({(d.metadata["Name"], d.version) for d in distributions() if d.metadata["Name"]}, key=str)


@cache
def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
