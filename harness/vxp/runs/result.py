"""The documents of a run: what produced each number, how it was averaged, and on what."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

import numpy as np
import safetensors.torch
import vxp_schemas
from vxp_schemas import typed

from vxp import stats
from vxp.core import OK, Explainer, Metric, Reduce, VxpError
from vxp.documents import FILES as FILES

# and so they are part of this module's own names
from vxp.documents import RULES, store
from vxp.documents import TYPE as TYPE
from vxp.documents import harness as harness
from vxp.documents import header as header
from vxp.documents import identity as identity
from vxp.documents import plain_json as plain_json
from vxp.documents import reference_rows as reference_rows
from vxp.documents import undated as undated
from vxp.explainers import BoundExplainer
from vxp.kinds import REGIONS3D
from vxp.metrics import catalogue
from vxp.origin import origin
from vxp.tasks import Task

TIE = "references-tie"
"""The flag of a score in which no reference differs from another."""
PARAMETERS: Mapping[type, Literal["integer", "number", "string", "boolean"]] = {
    bool: "boolean", int: "integer", float: "number", str: "string"}
"""Types of parameters as a metric's document names them."""



def json_parameters(parameters: Mapping[str, Any]) -> typed.Parameters:
    """Parameters as JSON values; what JSON cannot say is named by its repr."""
    simple = (str, int, float, bool, type(None))
    return {k: v if isinstance(v, simple) else list(v) if isinstance(v, tuple | list) else repr(v)
            for k, v in parameters.items()}


def method(bound: BoundExplainer) -> typed.Method:
    return {"id": bound.id, "parameters": json_parameters(bound.parameters)}


class Selected(TypedDict, total=False):
    """The field that a run and its results have under a limit."""

    selection: typed.Selection


def selection(task: Task) -> Selected:
    """The field `selection` of a run and its results: what was taken of the task, under a limit only."""
    return {} if task.selection is None else {"selection": task.selection.document()}


def explainer(bound: BoundExplainer) -> typed.Explainer:
    declared = bound.explainer
    found: typed.Explainer = {
        "id": declared.id, "parameters": method(bound)["parameters"], "signed": declared.signed,
        "resample": declared.resample, "target_specific": declared.target_specific, "reference": declared.reference,
        "family": family(declared),
    }
    said = declared.explains(bound.parameters)
    if declared.resample in RULES["temporal"] or (bound.kind is REGIONS3D and said != "class"):
        found["explanandum"] = said
    return found


def family(declared: Explainer) -> typed.ExplainerFamily:
    """`explainers.bind` refuses a family that the schemas do not have."""
    return cast(typed.ExplainerFamily, declared.family)


def metric_document(metric: Metric) -> typed.Metric:
    """The registry document of a metric, read from its declaration: the one source of its facts."""
    text = inspect.getdoc(metric.plan) or metric.id
    return undated(typed.Metric) | {
        "id": metric.id, "version": metric.version, "status": "active", "definition": text.split("\n\n")[0].replace("\n", " "),
        "clause": f"spec/metrics/{metric.id}.md", "family": metric.family, "kinds": list(metric.kinds),
        **({} if metric.outputs == ("classes",) else {"outputs": list(metric.outputs)}), "level": metric.level,
        "better": metric.better, "range": list(metric.range),
        "parameters": [_parameter(name, value, metric.limits.get(name, ())) for name, value in metric.parameters.items()],
        "truth": list(metric.truth), "re_explains": metric.re_explains,
        **({"needs_relabelled": True} if metric.needs_relabelled else {}), "undefined": list(metric.undefined),
        "known_failure_modes": list(metric.caveats), "source": metric.source,
    }


def _parameter(name: str, default: Any, limit: tuple[Any, ...]) -> typed.MetricParameter:
    """A parameter with what it may be, in the words of a JSON Schema."""
    found: typed.MetricParameter = {"name": name, "type": PARAMETERS[type(default)], "default": default}
    if limit and all(isinstance(word, str) for word in limit):
        found["values"] = list(limit)
    elif limit:
        low, high = limit
        found |= {**({} if low is None else {"minimum": low}), **({} if high is None else {"maximum": high})}
    return found


@cache
def metric_reference(metric: Metric) -> typed.Ref:
    return vxp_schemas.reference(metric_document(metric))


def system(bound: BoundExplainer) -> typed.System:
    """The document of the system that made the maps: method, parameters and implementation."""
    if bound.system is not None:
        return bound.system
    declared = bound.explainer
    function = inspect.unwrap(declared.explain)
    passed = {k: v for k, v in bound.parameters.items() if v != declared.parameters[k]}
    name = getattr(function, "__name__", declared.id)
    implementation: typed.Implementation = {"entry_point": f"{function.__module__}:{name}"}
    with contextlib.suppress(TypeError, OSError):  # defined in a notebook cell: there is no file to digest
        implementation["source_digest"] = store.digest(Path(inspect.getfile(function)).read_bytes())
    if found := origin(function.__module__):
        implementation["package"], implementation["version"] = found
    method: typed.SystemMethod = {
        "name": declared.id, "family": family(declared), "parameters": json_parameters(bound.parameters),
        "parameters_passed": json_parameters(passed), "deterministic": True, "seeds": [],
        "needs": {"gradients": "gradients" in declared.needs, "activations": "activations" in declared.needs,
                  "layer": "layer" in declared.needs, "truth": "truth" in declared.needs,
                  "training_data": "training_data" in declared.needs, "passes_per_map": bound.passes},
    }
    if declared.source:
        method["source"] = declared.source
    trained: list[typed.SystemTrainedComponent] = []
    if declared.training is not None:
        trained = declared.training.components(**bound.parameters)
    return header(typed.System) | {
        "method": method, "implementation": implementation, "normalization": "none", "trained_components": trained,
    }


def system_digest(bound: BoundExplainer) -> str:
    """Digest of what the system is, without when and by which build the document was written."""
    return identity(system(bound))


def read_kept(
    read: Callable[[typed.Descriptor], bytes], document: typed.Result, statuses: Mapping[str, Sequence[str]],
    field: Literal["statistics", "reference_statistics"] = "statistics",
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


def families(task: typed.Ref, scores: Sequence[typed.ResultScore] | Sequence[typed.LeaderboardTableScore]) -> list[str]:
    """The families of these scores in their order, the one that the task is for first, where the registry has its card."""
    first = first_family(task)
    return sorted(dict.fromkeys(s["family"] for s in scores), key=lambda family: family != first)


def first_family(task: typed.Ref) -> str | None:
    """The family that a task is for; None where the registry has no card of it."""
    card = vxp_schemas.registry("tasks").get(f"{task['id']}@{task['version']}")
    return None if card is None else card["primary_family"]


def reduction(signature: str) -> Reduce | None:
    """What makes the set's number of this score; None where the metric is not installed here in this version."""
    known = catalogue().get(signature.partition("@")[0])
    return known.reduce if known is not None and known.name == signature.partition("|")[0] else None


def can_tie(metric: Metric) -> bool:
    """Whether references that tie mean that the column says nothing: to a metric that explains again all references are
    alike by what they are, since they do not depend on the model."""
    return not metric.re_explains
