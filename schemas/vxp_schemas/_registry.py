"""The registry: tasks, models, datasets, metrics and statuses, immutable and identified by content."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, NotRequired, TypedDict, overload

from vxp_schemas import typed
from vxp_schemas._digest import digest
from vxp_schemas._errors import SchemaError, unknown
from vxp_schemas._strict import loads

KINDS: Final = ("tasks", "models", "datasets", "metrics")
METRIC_TYPE: Final = "https://vxp.example/metric/v1"
# what a metric's digest covers: a better implementation, an example or a citation leaves the leaderboard's key alone
METRIC_IDENTITY: Final = ("id", "version", "definition", "parameters", "better", "range", "clause")

Registered = typed.Task | typed.Model | typed.Dataset | typed.Metric



class SeenDifferences(TypedDict):
    """The largest differences that were measured, and how many statuses changed."""

    target_score: float
    maps: float
    metrics: dict[str, float]
    statuses: NotRequired[int]
    imputed: NotRequired[dict[str, float]]
    imputed_vectors: NotRequired[dict[str, float]]


class ToleranceClass(TypedDict):
    """The tolerances of a precision class. metrics: those that are not `scores`, by metric, or metric and parameters. maps:
    absent where rounding changes maps too much to compare."""

    target_score: float
    scores: float
    maps: NotRequired[float]
    metrics: dict[str, float]
    seen: NotRequired[SeenDifferences]


class Tolerances(TypedDict):
    """How far numbers that were computed again may be off, and how that was measured: with torch, or for metrics that were
    measured later with torch_of."""

    about: str
    runs: list[list[str | int]]
    imputed_runs: list[list[str | int]]
    torch: str
    torch_of: NotRequired[dict[str, str]]
    classes: dict[str, ToleranceClass]


_REGISTRY_PATH: Final = re.compile(r"[a-z0-9][a-z0-9-]*/[A-Za-z0-9][A-Za-z0-9._@-]*")


@overload
def registry(kind: Literal["tasks"]) -> dict[str, typed.Task]: ...
@overload
def registry(kind: Literal["models"]) -> dict[str, typed.Model]: ...
@overload
def registry(kind: Literal["datasets"]) -> dict[str, typed.Dataset]: ...
@overload
def registry(kind: Literal["metrics"]) -> dict[str, typed.Metric]: ...
@overload
def registry(kind: str) -> Mapping[str, Registered]: ...
def registry(kind: str) -> Any:
    """The documents of one kind (tasks, models, datasets, metrics) by `id@version`, in order of that name."""
    return deepcopy(dict(_documents(kind)))


@overload
def registry_document(kind: Literal["tasks"], name: str) -> typed.Task: ...
@overload
def registry_document(kind: Literal["models"], name: str) -> typed.Model: ...
@overload
def registry_document(kind: Literal["datasets"], name: str) -> typed.Dataset: ...
@overload
def registry_document(kind: Literal["metrics"], name: str) -> typed.Metric: ...
@overload
def registry_document(kind: str, name: str) -> Registered: ...
def registry_document(kind: str, name: str) -> Any:
    """One document by `id@version`, or by `id` alone for its highest version. Raises UnknownName with the nearest."""
    documents = _documents(kind)
    versions = [key for key in documents if name in (key, key.rpartition("@")[0])]
    if not versions:
        raise unknown(name, documents, what=kind.removesuffix("s"))
    return deepcopy(documents[max(versions, key=lambda key: int(documents[key]["version"]))])


def registry_bytes(path: str) -> bytes:
    """The bytes of a file that a registry document points to, such as `items/photos@1.json`."""
    found = files("vxp_schemas").joinpath("registry", *path.split("/"))
    if not _REGISTRY_PATH.fullmatch(path) or not found.is_file():
        raise SchemaError(f"no registry file {path!r}, expected a path such as 'items/photos@1.json' that is there")
    return found.read_bytes()


def rules() -> list[dict[str, str]]:
    """The catalogue of the validator's rules: code, level, severity, title, clause, why, fix. A code is never used again."""
    loaded: list[dict[str, str]] = loads(files("vxp_schemas").joinpath("registry", "rules.json").read_bytes())
    return loaded


def tolerances() -> Tolerances:
    """How far numbers that were computed again may be off, by precision class and metric, with how it was measured."""
    loaded: Tolerances = loads(files("vxp_schemas").joinpath("registry", "tolerances.json").read_bytes())
    return loaded


def reference(document: Mapping[str, Any]) -> typed.Ref:
    """`{"id", "version", "digest"}`: how other documents name this one.

    The digest is that of the RFC 8785 form of the whole document, except for metrics (see metric_digest).
    """
    absent = [key for key in ("type", "id", "version") if key not in document]
    if absent:
        raise SchemaError(f"a document without {', '.join(absent)} cannot be referred to, expected a registry document")
    own = metric_digest(document) if document["type"] == METRIC_TYPE else digest(document)
    return {"id": document["id"], "version": document["version"], "digest": own}


def metric_digest(document: Mapping[str, Any]) -> str:
    """The digest of what a metric is: id, version, definition, parameters, direction (`better`), range and clause."""
    absent = [key for key in METRIC_IDENTITY if key not in document]
    if absent:
        raise SchemaError(f"a metric without {', '.join(absent)}, expected all of {', '.join(METRIC_IDENTITY)}")
    return digest({key: document[key] for key in METRIC_IDENTITY})


@cache
def _documents(kind: str) -> Mapping[str, Registered]:
    if kind not in KINDS:
        raise unknown(kind, KINDS, what="registry kind")
    folder = files("vxp_schemas").joinpath("registry", kind)
    if not folder.is_dir():
        return {}
    documents = [loads(file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".json")]
    return {name: document for name, document in sorted((f"{d['id']}@{d['version']}", d) for d in documents)}


def _statuses() -> dict[str, str]:
    loaded: dict[str, str] = loads(files("vxp_schemas").joinpath("registry", "statuses.json").read_bytes())
    return loaded


STATUSES: Final[Mapping[str, str]] = _statuses()
