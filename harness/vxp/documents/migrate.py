"""Bring a document of an earlier version of the standard to this one: a new document that names the old by its digest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import vxp_schemas

from vxp import documents
from vxp.documents import store
from vxp.errors import VxpError

Step = Callable[[dict[str, Any]], dict[str, Any]]

SCORED = ("result", "run", "audit", "report", "leaderboard", "set")
"""Documents that hold scores, or that name tasks and models by their digests: these are made again, not renamed."""


def _from_draft_1(document: dict[str, Any]) -> dict[str, Any]:
    """Between the drafts scores changed (the evaluation map's arithmetic, among others), but no field of what has none."""
    kind = str(document["type"]).split("/")[-2]
    if kind in SCORED:
        raise VxpError(f"a document of type {kind!r} of 1.0.0-draft.1 is not migrated: its scores, and the digests of its "
                       "task, model and metrics, are others in 1.0.0-draft.2, and migration computes nothing anew. The "
                       "changelog says which scores changed; run `vxp run` again")
    return document


STEPS: Mapping[str, tuple[str, Step]] = {"1.0.0-draft.1": ("1.0.0-draft.2", _from_draft_1)}
"""By version the next one and what changes on the way."""


def migrate(path: Path, out: Path) -> str:
    """Write the document at this version's form; what was done, in a sentence. VxpError where nobody knows how.

    Nothing is computed anew (10.3.3), and the old document stays as it is. A bundle is not migrated: its digest is its
    identity, so its run is sealed again with this version.
    """
    if path.is_dir():
        raise VxpError(f"{path} is a folder: a bundle is not migrated, since its digest is its identity. Migrate the documents "
                       "of the run and seal it again")
    try:
        data = store.read_file(path)
        document = vxp_schemas.loads(data)
    except OSError as error:
        raise VxpError(f"{path}: {error.strerror}") from None
    except vxp_schemas.SchemaError as error:
        raise VxpError(f"{path}: {error}") from None
    version = document.get("spec_version") if isinstance(document, dict) else None
    if not isinstance(version, str) or not str(document.get("type", "")).startswith("https://vxp.example/"):
        raise VxpError(f"{path} is no document of this standard: expected the fields type and spec_version")
    if version == vxp_schemas.SPEC_VERSION:
        _valid(path, document)
        return f"{path} is of {version} already: nothing was written"
    if out.exists():
        raise VxpError(f"--out {out} exists: a document is never overwritten; choose another name")
    whole = dict(document)
    came: list[str] = []
    while version != vxp_schemas.SPEC_VERSION:
        if version in came or version not in STEPS:
            known = ", ".join(STEPS) or "none: it is the first"
            raise VxpError(f"{path} is of version {version}, and this vxp writes {vxp_schemas.SPEC_VERSION}; versions that it "
                           f"can migrate: {known}. A newer document needs a newer vxp")
        came.append(version)
        version, step = STEPS[version]
        whole = step(whole) | {"spec_version": version}
    fresh = {"created": documents.now(), "generator": documents.generator()}
    whole |= {"derived_from": store.digest(data), **{k: v for k, v in fresh.items() if k in whole}}
    _valid(path, whole)
    store.write_bytes(out, json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n")
    return f"{out}: {' -> '.join([*came, version])}, derived from {whole['derived_from']}"


def _valid(path: Path, document: Mapping[str, Any]) -> None:
    """VxpError unless the document's schema accepts it."""
    try:
        vxp_schemas.validate(document)
    except vxp_schemas.SchemaError as error:
        raise VxpError(f"{path}: {error}") from None
