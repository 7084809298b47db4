"""The bundled schemas and the types of documents."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from importlib.resources import files
from typing import Any, Final

from vxp_schemas._errors import unknown
from vxp_schemas._strict import loads

SCHEMA_NAMES: Final = ("task", "dataset", "model", "metric", "set", "result", "environment", "system", "run", "submission",
                       "report", "audit", "signature", "withdrawal", "trust", "leaderboard")
DOCUMENT_TYPES: Final[Mapping[str, str]] = {f"https://vxp.example/{name}/v1": name for name in SCHEMA_NAMES}

Schema = Mapping[str, Any]


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a document type by its short name ('result', ...), or 'defs', which all share."""
    known = (*SCHEMA_NAMES, "defs")
    if name not in known:
        raise unknown(name, known, what="schema")
    return deepcopy(stored(name))


@cache
def stored(name: str) -> dict[str, Any]:
    text = files("vxp_schemas").joinpath("v1", f"{name}.schema.json").read_bytes()
    loaded: dict[str, Any] = loads(text)
    return loaded
