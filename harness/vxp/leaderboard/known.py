"""Validations of records that have not changed since, kept in the user's cache: adding one record checks one record.

A validation is found again by the digest of every byte of the record's bundle and of the code that validates, so that it is
never that of other files or of another validator. `vxp leaderboard build --check` does not look here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import vxp_schemas

import vxp
from vxp import store
from vxp.bundles import open_bundle
from vxp.core import VxpError
from vxp.machine import caches
from vxp.validation import Report
from vxp.validation.report import as_json

MOST = 1 << 28
"""Bytes of a record above which it is not looked up; no record of a bundle within its caps is near it."""


def folder() -> Path:
    """$XDG_CACHE_HOME/vxp/records, by default ~/.cache/vxp/records."""
    return caches() / "records"


def key(bundle: Path) -> str | None:
    """By what a validation is found; None where the files cannot be read in order, which the validator will say."""
    try:
        opened = open_bundle(bundle)
        if sum(opened.size(path) for path in opened.paths) > MOST:
            return None
        found = hashlib.sha256(_code().encode())
        for path in opened.paths:
            inside = hashlib.sha256()
            with opened.stream(path) as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    inside.update(block)
            found.update(f"\n{path}\n{inside.hexdigest()}".encode())
    except (VxpError, OSError):
        return None
    return found.hexdigest()


def get(name: str) -> Report | None:
    """The validation of this key that is kept, if there is one."""
    try:
        said: dict[str, Any] = json.loads((folder() / f"{name}.json").read_bytes())
        return Report.read(said, strict=False)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def put(name: str, report: Report) -> None:
    """Keep a validation without errors; where the cache cannot be written, it is made again the next time."""
    if not report.stopped and not report.of("error"):
        with contextlib.suppress(OSError, VxpError):
            store.write_bytes(folder() / f"{name}.json", as_json(report).encode())


@cache
def _code() -> str:
    """The digest of all code and registry that a validation depends on."""
    found = hashlib.sha256()
    for top in (Path(vxp.__file__).parent, Path(vxp_schemas.__file__).parent):
        for file in sorted(p for p in top.rglob("*") if p.suffix in (".py", ".json")):
            found.update(f"\n{file.relative_to(top)}\n{hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return found.hexdigest()


__all__ = ["folder", "get", "key", "put"]
