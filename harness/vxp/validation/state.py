"""What of a bundle could be read: documents by path, descriptors, tensors and tables, and what could not be checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import vxp_schemas

from vxp.bundles import Bundle
from vxp.documents import referred
from vxp.documents.findings import Findings, plain
from vxp.validation.arrays import Table, Tensor

Document = Mapping[str, Any]


@dataclass(eq=False)
class ASet:
    """An explanation set that could be read; tensors are None where a shard could not."""

    path: str
    document: Document
    items: Table | None = None
    shards: list[Tensor | None] = field(default_factory=list)

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    def inside(self, path: str) -> str:
        """A path of the set's descriptors as a path of the bundle."""
        return f"{self.folder}/{path}" if self.folder else path

    @property
    def items_path(self) -> str:
        return self.inside(self.document["items"]["path"])


@dataclass(eq=False)
class AResult:
    """A result that could be read."""

    path: str
    document: Document
    samples: Table | None = None
    curves: Mapping[str, Tensor] | None = None
    statistics: Mapping[str, Tensor] | None = None
    reference_samples: Table | None = None
    reference_statistics: Mapping[str, Tensor] | None = None
    environment: Document | None = None

    @property
    def samples_path(self) -> str:
        return str(self.document["samples"]["path"])


@dataclass(eq=False)
class State:
    """Everything that the levels share."""

    bundle: Bundle
    findings: Findings
    submission: Document | None = None
    system: Document | None = None
    sets: list[ASet] = field(default_factory=list)
    results: list[AResult] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)
    described: dict[str, Document] = field(default_factory=dict)
    incomplete: dict[str, str] = field(default_factory=dict)
    record: bool = False
    """Whether maps and curves may lie elsewhere, as in a record of a leaderboard."""

    def not_checked(self, what: str, why: str) -> None:
        """A check that could not be made: the verdict is partial at best."""
        self.incomplete.setdefault(plain(what), plain(why))

    def set_of(self, result: AResult) -> ASet | None:
        return next((s for s in self.sets if s.path == result.document["set"]["path"]), None)

    def limit_of(self, found: ASet) -> int | None:
        """The limit on items of the run that made a set, which its result states."""
        stated = (r.document["settings"]["limit"] for r in self.results if r.document["set"]["path"] == found.path)
        limit = next(stated, None)
        return None if limit is None else int(limit)

    def entry(self, kind: str, reference: Document, limit: int | None = None) -> Document | None:
        """The registry's or the bundle's document that a reference names by id, version and digest."""
        candidates = [vxp_schemas.registry(kind).get(f"{reference['id']}@{reference['version']}"),
                      *(d for d in self.documents.values() if d["type"].endswith(f"/{kind.removesuffix('s')}/v1"))]
        for document in candidates:
            if document is not None and referred(document, limit) == reference:
                return document
        return None
