"""The documents of a run: what produced each number, how it was averaged, and on what."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import vxp_schemas

from vxp import stats
from vxp.core import OK, Metric, Reduce, VxpError

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
from vxp.metrics import catalogue
from vxp.origin import origin
from vxp.tasks import Task

TIE = "references-tie"
"""The flag of a score in which no reference differs from another."""



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


def can_tie(metric: Metric) -> bool:
    """Whether references that tie mean that the column says nothing: to a metric that explains again all references are
    alike by what they are, since they do not depend on the model."""
    return not metric.re_explains
