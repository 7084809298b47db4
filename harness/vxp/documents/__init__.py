"""What documents have in common, and how they name each other. Reading them needs no torch."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, cast

import vxp_schemas
from vxp_schemas import typed

T = TypeVar("T")
TYPE = "https://vxp.example/{}/v1"
Beside = Literal["samples", "reference_samples", "environment", "curves", "statistics", "reference_statistics"]
FILES: Mapping[Beside, str] = {
    "samples": "samples.parquet", "reference_samples": "references.parquet", "environment": "environment.json",
    "curves": "curves.safetensors", "statistics": "statistics.safetensors",
    "reference_statistics": "reference-statistics.safetensors"}
"""The files of a result by the field of result.json that describes them."""
GRIDS: Mapping[str, tuple[str, ...]] = {"heatmap2d": ("h", "w"), "heatmap3d": ("t", "h", "w"),
                                        "temporal": ("parts",), "regions": ("planes", "h", "w"),
                                        "regions3d": ("planes", "t", "h", "w"), "concepts": ("concepts",),
                                        "counterfactual": ("channels", "h", "w"), "text": ("bytes",), "rules": ("bytes",),
                                        "prototypes": ("prototypes", "h", "w")}
"""The axes of an explanation by its kind."""
BYTES = ("counterfactual", "text", "rules")
"""The kinds whose numbers are bytes; those of the others are floats."""
RULES: Mapping[str, Mapping[typed.Resample, int]] = {"heatmap2d": {"bilinear": 2, "nearest": 0},
                                                     "heatmap3d": {"trilinear": 3, "frames": 2, "nearest": 0},
                                                     "temporal": {"fragment": 0, "frame": 0, "second": 0}}
"""By the kind its rules from a map's grid to the input grid, and how many of the last axes each takes linearly; `none` is a
rule of every kind but `temporal`, and the only one of kinds that are not listed. Those of scores of parts are the units of the
parts."""
ALIASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "morf": ("deletion", {"fill": "mean"}),
    "lerf": ("insertion", {"fill": "mean"}),
}
"""Other names of metrics, with the parameters that they set."""
OPEN = "open-"
"""What the ids of tasks of one's own images begin with."""
OPEN_CLIPS = "open-clips."
"""What those of one's own clips begin with; an id of images has no dot."""
OPEN_FEATURES = "open-features."
"""What those of one's own features of videos begin with."""


def own_items(task: str) -> str:
    """What an unregistered task is made of, by its id, as the command line has it: images, clips or features."""
    return "features" if task.startswith(OPEN_FEATURES) else "clips" if task.startswith(OPEN_CLIPS) else "images"
TEXTS = {".md": "text/markdown", ".txt": "text/plain", ".cff": "text/plain", "": "text/plain"}
"""Kinds of documentation that a bundle takes, by the ending of the name."""


class Listed(TypedDict):
    """An item of a registered task, as the file of its items lists it."""

    item_id: str
    cluster: str
    target: int | None
    label: list[int]
    pixel_sha256: str
    recipe: dict[str, Any]


def listed(path: str) -> list[Listed]:
    """The items of a task by the path of their file in the registry."""
    items: list[Listed] = vxp_schemas.loads(vxp_schemas.registry_bytes(path))
    return items


def header(kind: type[T]) -> T:
    """A document of a type of vxp_schemas.typed, begun with the header that every document carries.

    Its other fields follow by `header(typed.Report) | {...}`, which is the whole document: who writes it validates it.
    """
    begun = {"created": now(), "generator": generator(), "extensions": {}}
    return cast(T, {"type": vxp_schemas.type_of(kind), "spec_version": vxp_schemas.SPEC_VERSION, **begun})


def undated(kind: type[T]) -> T:
    """The same of a registered document, which does not say when and by what it was written."""
    return cast(T, {"type": vxp_schemas.type_of(kind), "spec_version": vxp_schemas.SPEC_VERSION, "extensions": {}})


def shared(kind: type[T], source: Mapping[str, object]) -> T:
    """The fields of a type of vxp_schemas.typed that another document has too, in the type's order; others may follow by |."""
    return cast(T, {name: source[name] for name in kind.__annotations__ if name in source})


def generator() -> typed.Generator:
    """What writes the documents here."""
    return cast(typed.Generator, {"name": "vxp", **harness()})


def plain_json(value: Any) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def harness() -> typed.Harness:
    """Version of the harness, and commit and dirtiness where it runs from a git checkout."""
    found: typed.Harness = {"version": version("vxp")}
    here = Path(__file__).resolve()
    top = next((p for p in here.parents if (p / ".git").exists() and (p / "harness" / "vxp").exists()), None)
    if top is None:
        return found
    try:
        commit = _git(top, "rev-parse", "HEAD")
        return {**found, "commit": commit, "dirty": bool(_git(top, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return found  # no git, or no commit yet: the version alone is what is known


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def identity(document: typed.System) -> str:
    """The digest by which sets name a system document."""
    facts = {"method": document["method"], "implementation": document["implementation"],
             "normalization": document["normalization"]}
    trained = {"trained_components": document["trained_components"]} if document["trained_components"] else {}
    return str(vxp_schemas.digest(facts | trained))


@dataclass(frozen=True)
class Taken:
    """What was taken of a task: so many items, of every cluster in turn (8.4.5), or the first of whole clusters in drawn order
    (7.5.3)."""

    items: int
    drawn: bool = False

    @classmethod
    def of(cls, settings: typed.Settings) -> Taken | None:
        """By the settings of a run or a result; None for all of its items."""
        limit = settings["limit"]
        return None if limit is None else cls(limit, "until" in settings)


def referred(document: Mapping[str, Any], taken: Taken | None = None) -> typed.Ref:
    """How results refer to a document; a task of which some items were taken is another task."""
    whole = vxp_schemas.reference(document)
    if taken is None:
        return whole
    named = [whole["digest"], taken.items, *(["sequential"] if taken.drawn else [])]
    return {**whole, "digest": vxp_schemas.digest(named)}


def reference_rows(document: typed.Result, items: int) -> dict[tuple[str, str], slice]:
    """The rows of references.parquet by reference and signature: as result.json lists them, `items` rows each."""
    listed = [(r["explainer"], s["signature"]) for r in document["references"] for s in r["scores"]]
    return {place: slice(k * items, (k + 1) * items) for k, place in enumerate(listed)}


def listed_modules(folder: Path) -> list[str]:
    """The names of a package's modules, which a list of what they declare is of."""
    return sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("__"))
