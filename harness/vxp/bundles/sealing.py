"""Seal runs into a bundle: one system, every file bound by a digest, whole or not there at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import vxp_schemas
from vxp_schemas import typed

from vxp import bundles, documents
from vxp.catalogue import nearest
from vxp.documents import TEXTS, Taken, referred, store
from vxp.errors import VxpError

STATEMENT = ("submission_id", "title", "submitter", "authors", "license", "conflicts_of_interest", "code_available",
             "statement_of_tuning")
"""What only the submitter can say."""
OPTIONAL = ("supersedes", "extensions")
FORM: Mapping[str, Any] = {
    "submission_id": "my-lab-my-method",
    "title": "My method on VXP",
    "submitter": {"name": "", "affiliation": "", "contact": ""},
    "authors": [""],
    "license": "CC-BY-4.0",
    "conflicts_of_interest": "",
    "code_available": False,
    "statement_of_tuning": "",
}
"""What `vxp seal` writes where there is no statement yet; the empty texts are refused until they are filled in, except the
affiliation, which may stay empty."""

@dataclass(frozen=True)
class Part:
    """One explanation set with its result, in the run folder where it was made."""

    folder: Path
    set_id: str
    system: typed.System
    result: typed.Result

    @property
    def name(self) -> str:
        return str(self.result["explainer"]["id"])


def seal(folders: Sequence[Path], explainer: str, statement: Path, out: Path, *, documentation: Path | None = None) -> str:
    """Write the bundle of one explainer's sets and results in `folders`; returns its root digest.

    explainer: the id, or the id of a set where the run has several settings of it. statement: a JSON file of what only
    the submitter can say (`FORM`). out: a new folder, or a file that ends in .tar. VxpError where something is missing
    or does not belong together; then nothing is written.
    """
    if out.exists():
        raise VxpError(f"--out {out} exists: a sealed bundle is never changed; choose another name or delete it")
    parts = [_part(folder, explainer) for folder in folders]
    systems = {documents.identity(p.system): p for p in parts}
    if len(systems) > 1:
        differing = ", ".join(f"{p.folder}: {json.dumps(p.system['method']['parameters'])}" for p in systems.values())
        raise VxpError(f"a bundle holds one system, and {explainer!r} was run with different parameters or code ({differing}): "
                       "seal each on its own")
    if len({p.set_id for p in parts}) < len(parts):
        raise VxpError(f"the same set {parts[0].set_id} is in several of {', '.join(map(str, folders))}: give each run once")
    said = read_statement(statement)
    files = dict(_files(parts)) | dict(_documentation(documentation))
    root = _root(said, parts, files)
    _write(out, files, documents.plain_json(root))
    return store.digest(documents.plain_json(root))


def write_form(path: Path) -> None:
    """The statement to fill in."""
    store.write_bytes(path, documents.plain_json(FORM))


def read_statement(path: Path) -> dict[str, Any]:
    """What the submitter says; VxpError names every missing, unknown and empty field."""
    try:
        said = vxp_schemas.loads(store.read_file(path))
    except FileNotFoundError:
        write_form(path)
        raise VxpError(f"{path} did not exist: a form has been written there. Fill it in and run the same command "
                       "again") from None
    except (OSError, vxp_schemas.SchemaError) as error:
        raise VxpError(f"{path}: {error}") from None
    if not isinstance(said, dict):
        raise VxpError(f"{path}: got {type(said).__name__}, expected an object with the fields {', '.join(STATEMENT)}")
    submitter = said.get("submitter")
    if isinstance(submitter, dict) and submitter.get("affiliation") == "":
        del submitter["affiliation"]  # of somebody on their own
    problems = [f"the field {name!r} is missing" for name in STATEMENT if name not in said]
    known = (*STATEMENT, *OPTIONAL)
    problems += [f"{name!r} is unknown{nearest(name, known)}; vxp seal fills in the rest" for name in said if name not in known]
    problems += [f"{place} is empty" for place in _empty(said, "")]
    if problems:
        raise VxpError(f"{path} is not filled in:\n" + "\n".join(f"  {p}" for p in problems))
    return said


def _empty(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _empty(inner, f"{place}/{key}")
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _empty(inner, f"{place}/{number}")
    elif value in ("", []):
        yield place


def _part(folder: Path, wanted: str) -> Part:
    """The set and result of an explainer in a run folder."""
    found = []
    for path in sorted((folder / "results").glob("*/result.json")) if (folder / "results").is_dir() else []:
        document = store.read_document(path, typed.Result)
        found.append((document["result_id"], document))
    if not found:
        raise VxpError(f"{folder} holds no results: expected a folder that vxp run or vxp score wrote")
    matches = [(name, d) for name, d in found if wanted in (name, d["explainer"]["id"])]
    own = sorted({d["explainer"]["id"] for _, d in found if not d["explainer"]["reference"]})
    if not matches:
        raise VxpError(f"{folder} has no result of {wanted!r}{nearest(wanted, own)}; it has "
                       f"{', '.join(own) or 'references only'}")
    if len(matches) > 1:
        raise VxpError(f"{folder} has several settings of {wanted!r}: name one of the sets {', '.join(n for n, _ in matches)}")
    name, document = matches[0]
    if document["explainer"]["reference"]:
        raise VxpError(f"{wanted!r} is a reference that stands beside every result; seal a method: "
                       f"{', '.join(own) or 'none here'}")
    system = store.read_document(folder / "systems" / f"{name}.json", typed.System)
    return Part(folder, name, system, document)


def _files(parts: Sequence[Part]) -> Iterator[tuple[str, Path]]:
    """Every file of the bundle but its root, by its path there. Descriptors are checked against the bytes."""
    yield "system.json", parts[0].folder / "systems" / f"{parts[0].set_id}.json"
    for part in parts:
        sets, results = f"explanations/{part.set_id}", f"results/{part.set_id}"
        manifest = store.read_document(part.folder / sets / "set.json", typed.Set)
        yield f"{sets}/set.json", part.folder / sets / "set.json"
        for described in [manifest["items"], *(shard["descriptor"] for shard in manifest["shards"])]:
            store.check_described(part.folder / sets, described)
            yield f"{sets}/{described['path']}", part.folder / sets / described["path"]
        yield f"{results}/result.json", part.folder / results / "result.json"
        for field in documents.FILES:
            if field in part.result:
                described = part.result[field]
                store.check_described(part.folder, described)
                yield described["path"], part.folder / described["path"]
        for kind in ("task", "model"):
            if not _registered(kind, part.result[kind]):
                yield f"{results}/{kind}.json", _own(part, kind)


def _own(part: Part, kind: Literal["task", "model"]) -> Path:
    """The document of a task or model that the registry does not have. No descriptor binds it, and what lies there goes out
    with the bundle: a link in somebody else's run folder may lead to any file of this machine."""
    path = part.folder / f"{kind}.json"
    if kind == "task":
        found = referred(store.read_document(path, typed.Task), Taken.of(part.result["settings"]))
    else:
        found = referred(store.read_document(path, typed.Model))
    if found != part.result[kind]:
        raise VxpError(f"{path} is of {found}, expected {part.result[kind]}, the {kind} of the run's results: take the file "
                       "that vxp run wrote there")
    return path


def _registered(kind: str, reference: typed.Ref) -> bool:
    known = vxp_schemas.registry(f"{kind}s").get(f"{reference['id']}@{reference['version']}")
    return known is not None and known["status"] == "active"


def _documentation(folder: Path | None) -> Iterator[tuple[str, Path]]:
    if folder is None:
        return
    if not folder.is_dir():
        raise VxpError(f"--documentation {folder} is no folder")
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        inside = f"documentation/{path.relative_to(folder).as_posix()}"
        if path.suffix not in TEXTS or not bundles.PATH.fullmatch(inside) or path.is_symlink():
            raise VxpError(f"{path} does not go into a bundle: expected texts (.md, .txt, .cff or no ending) with names of "
                           "A-Z a-z 0-9 . _ -")
        yield inside, path


def _root(said: Mapping[str, Any], parts: Sequence[Part], files: Mapping[str, Path]) -> typed.Submission:
    def described(path: str, media: str = store.JSON) -> typed.Descriptor:
        data = files[path]
        return {"mediaType": media, "path": path, "size": data.stat().st_size, "digest": vxp_schemas.file_digest(data)}

    ids = sorted(p.set_id for p in parts)
    texts = [p for p in sorted(files) if p.startswith("documentation/")]
    return vxp_schemas.valid({
        **documents.header(typed.Submission), **said,
        "division": "closed" if all(p.result["division"] == "closed" for p in parts) else "open",
        "system": described("system.json"),
        "sets": [described(f"explanations/{i}/set.json") for i in ids],
        "results": [described(f"results/{i}/result.json") for i in ids],
        "documents": [described(p) for i in ids for p in (f"results/{i}/task.json", f"results/{i}/model.json") if p in files],
        "documentation": [described(p, TEXTS[Path(p).suffix]) for p in texts],
    }, typed.Submission)


def _write(out: Path, files: Mapping[str, Path], root: bytes) -> None:
    """The whole bundle beside its place first, then one rename."""
    with store.whole(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
            top = Path(temporary) / "bundle"
            store.write_bytes(top / bundles.ROOT, root)
            if out.suffix == ".tar":
                bundles.write_tar(out, dict(files) | {bundles.ROOT: top / bundles.ROOT})
                return
            for path, source in files.items():
                (top / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, top / path)
            os.replace(top, out)
