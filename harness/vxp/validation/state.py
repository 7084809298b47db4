"""What of a bundle could be read: documents by path, descriptors, tensors and tables, and what could not be checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, overload

import vxp_schemas
from vxp_schemas import typed

from vxp.bundles import Bundle
from vxp.documents import Taken, referred
from vxp.documents.findings import Findings, plain
from vxp.validation.arrays import Table, Tensor

Card = typed.Task | typed.Model | typed.Dataset
"""What a bundle holds of what the registry has not."""
Document = typed.Submission | typed.System | typed.Set | typed.Result | typed.Environment | Card


class Facts(TypedDict, total=False):
    """What descriptors of one file agree on; nothing of the root, which none describes."""

    mediaType: str
    size: int
    digest: str


@dataclass(eq=False)
class ASet:
    """An explanation set that could be read; tensors are None where a shard could not."""

    path: str
    document: typed.Set
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
    document: typed.Result
    samples: Table | None = None
    curves: Mapping[str, Tensor] | None = None
    statistics: Mapping[str, Tensor] | None = None
    reference_samples: Table | None = None
    reference_statistics: Mapping[str, Tensor] | None = None
    environment: typed.Environment | None = None

    @property
    def samples_path(self) -> str:
        return str(self.document["samples"]["path"])


@dataclass(eq=False)
class State:
    """Everything that the levels share."""

    bundle: Bundle
    findings: Findings
    submission: typed.Submission | None = None
    system: typed.System | None = None
    sets: list[ASet] = field(default_factory=list)
    results: list[AResult] = field(default_factory=list)
    documents: dict[str, Card] = field(default_factory=dict)
    described: dict[str, Facts] = field(default_factory=dict)
    incomplete: dict[str, str] = field(default_factory=dict)
    record: bool = False
    """Whether maps and curves may lie elsewhere, as in a record of a leaderboard."""

    def not_checked(self, what: str, why: str) -> None:
        """A check that could not be made: the verdict is partial at best."""
        self.incomplete.setdefault(plain(what), plain(why))

    def set_of(self, result: AResult) -> ASet | None:
        return next((s for s in self.sets if s.path == result.document["set"]["path"]), None)

    def taken_of(self, found: ASet) -> Taken | None:
        """What the run that made a set took of its task, which its result states."""
        stated = (r.document["settings"] for r in self.results if r.document["set"]["path"] == found.path)
        settings = next(stated, None)
        return None if settings is None else Taken.of(settings)

    @overload
    def entry(self, kind: Literal["tasks"], reference: typed.Ref, taken: Taken | None = None) -> typed.Task | None: ...
    @overload
    def entry(self, kind: Literal["models"], reference: typed.Ref, taken: Taken | None = None) -> typed.Model | None: ...
    def entry(self, kind: str, reference: typed.Ref, taken: Taken | None = None) -> Any:
        """The registry's or the bundle's document that a reference names by id, version and digest."""
        candidates = [vxp_schemas.registry(kind).get(f"{reference['id']}@{reference['version']}"),
                      *(d for d in self.documents.values() if d["type"].endswith(f"/{kind.removesuffix('s')}/v1"))]
        for document in candidates:
            if document is not None and referred(document, taken) == reference:
                return document
        return None
