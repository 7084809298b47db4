"""The facts of what can be named on the command line, read from documents: torch and the explainers take seconds to import.

The registry has the documents of metrics, tasks, models and data sets. A package of explainers may hold `explainers.json`, the
facts of its explainers as `python -m vxp.maintain.listing` writes them; ours does, and a test holds it to the declarations.
Whatever a plugin declares besides is imported, since nothing else knows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import vxp_schemas

from vxp.documents import ALIASES, listed_modules

Facts = Mapping[str, Any]
"""What is known of one thing: a document of the registry, or in its form."""
LISTING = "explainers.json"
FAMILIES = {
    "torchvision/NAME": "torchvision's weights, in torch's cache; NAME:WEIGHTS chooses them",
    "timm/NAME": "timm's weights, in the Hugging Face cache; NAME.TAG chooses them; pip install 'vxp[timm]'",
    "file.py:factory": "your own: a callable that returns a module",
    "...@FILE": "any of the last three with weights from a .safetensors or .pth file",
    "...|frames:16|layout:btchw|fusion:mean": "any of them as a model of clips (or --frames, --layout, --fusion)",
}
"""Families of models' names, with where their weights come from."""


def metrics() -> dict[str, Facts]:
    """Every metric by its id."""
    if entry_points(group="vxp.metrics"):
        from vxp.metrics import catalogue
        from vxp.runs.result import metric_document

        return {id: metric_document(metric) for id, metric in catalogue().items()}
    return _newest("metrics")


def explainers() -> dict[str, Facts]:
    """Every installed explainer by its id."""
    listed = [_listed(point) for point in entry_points(group="vxp.explainers")]
    if None in listed:
        from vxp.explainers import catalogue, facts

        return {id: facts(explainer) for id, explainer in catalogue().items()}
    found = {id: one for some in listed if some is not None for id, one in some.items()}
    return dict(sorted(found.items()))


def _listed(point: EntryPoint) -> dict[str, Facts] | None:
    """The facts that a package of explainers holds; None where it holds none, or where its modules are no longer those."""
    spec = find_spec(point.value) if point.value.isidentifier() else None  # which imports nothing
    if spec is None or spec.origin is None or not (file := Path(spec.origin).parent / LISTING).is_file():
        return None
    stored = json.loads(file.read_bytes())
    return dict(stored["explainers"]) if stored["modules"] == listed_modules(file.parent) else None


def tasks() -> dict[str, Facts]:
    """Every registered task by its id."""
    return _newest("tasks")


def models() -> dict[str, Facts]:
    """Every registered model by the name that loads it."""
    return {str(model.get("load_name", id)): model for id, model in _newest("models").items()}


def datasets() -> dict[str, Facts]:
    """Every data set by its id."""
    found = _newest("datasets")
    if entry_points(group="vxp.datasets"):
        from vxp.datasets import sources

        found |= {id: {"id": id, "version": s.version, "title": s.about, "license": s.licence, "truth": list(s.truth),
                       "cluster_key": s.cluster} for id, s in sources().items() if id not in found}
    return dict(sorted(found.items()))


def missing(dataset: str) -> str | None:
    """What to do to have a data set's bytes on this machine, None where they are: asks its code, and so imports torch."""
    from vxp.datasets import source

    return source(dataset).missing()


def _newest(kind: str) -> dict[str, Facts]:
    """The newest version of every document of a kind."""
    ordered = sorted(vxp_schemas.registry(kind).values(), key=lambda document: (document["id"], document["version"]))
    return {document["id"]: document for document in ordered}


def signature(metric: Facts, preset: Facts | None = None) -> str:
    """The signature of a metric at its defaults, or with those of an alias (clause 8.2.1)."""
    values = {p["name"]: p["default"] for p in metric["parameters"]} | dict(preset or {})
    given = (f"{name}:{value!r}" if isinstance(value, float) else f"{name}:{value}" for name, value in values.items())
    return "|".join([f"{metric['id']}@{metric['version']}", *given])


__all__ = ["ALIASES", "FAMILIES", "Facts", "datasets", "explainers", "metrics", "missing", "models", "signature", "tasks"]
