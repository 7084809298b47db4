"""Level structure: names, kinds, sizes, documents by their schemas, headers of arrays and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

import vxp_schemas
from vxp_schemas import typed

from vxp import bundles
from vxp.documents import BYTES, FILES, GRIDS, TEXTS, store
from vxp.errors import VxpError
from vxp.validation import arrays
from vxp.validation.arrays import Malformed
from vxp.validation.divided import LENGTHS, SEGMENTS
from vxp.validation.state import AResult, ASet, Card, Facts, State

T = TypeVar("T")
TYPE = re.compile(r"https://vxp\.example/([a-z-]+)/v([1-9][0-9]*)")
MAX_TEXT = 16 * 2**20
MAX_TENSORS_OF_SHARD = 16


def check(state: State) -> None:
    root = document(state, bundles.ROOT, typed.Submission)
    if root is None:
        return
    state.submission = root
    state.described[bundles.ROOT] = {}
    if listed(state, root["system"], bundles.ROOT, store.JSON):
        state.system = document(state, root["system"]["path"], typed.System)
    for described in root["sets"]:
        if listed(state, described, bundles.ROOT, store.JSON):
            manifest = document(state, described["path"], typed.Set)
            if manifest is not None:
                state.sets.append(_set(state, ASet(described["path"], manifest)))
    for described in root["results"]:
        if listed(state, described, bundles.ROOT, store.JSON):
            result = document(state, described["path"], typed.Result)
            if result is not None:
                state.results.append(_result(state, AResult(described["path"], result)))
    for described in root["documents"]:
        if listed(state, described, bundles.ROOT, store.JSON):
            card: Card | None = document(state, described["path"], typed.Task, typed.Model, typed.Dataset)
            if card is not None:
                state.documents[described["path"]] = card
    for described in root["documentation"]:
        if listed(state, described, bundles.ROOT, *sorted(set(TEXTS.values()))):
            _text(state, described["path"])
    _layout(state, root)
    for path in state.bundle.paths:
        if path not in state.described:
            state.findings.add("VXP-I004", path, "", f"a file of {state.bundle.size(path)} bytes",
                               "only files that a document lists")


def _layout(state: State, root: typed.Submission) -> None:
    """Every file lies where its role and its set's id put it, so that ids are unique in a bundle."""
    def place(inside: str, wanted: str, by: str, folder: str = "") -> None:
        path = f"{folder}/{inside}" if folder else inside
        if path != wanted:
            state.findings.add("VXP-S014", path, f"listed in {by}", f"the place {path}", wanted)

    place(root["system"]["path"], "system.json", bundles.ROOT)
    for found in state.sets:
        home = f"explanations/{found.document['set_id']}"
        place(found.path, f"{home}/set.json", bundles.ROOT)
        place(found.document["items"]["path"], f"{home}/items.parquet", found.path, found.folder)
    for result in state.results:
        home = f"results/{result.document['result_id']}"
        place(result.path, f"{home}/result.json", bundles.ROOT)
        for kind, name in FILES.items():
            if kind in result.document:
                place(result.document[kind]["path"], f"{home}/{name}", result.path)
    for described in root["documents"]:
        if not re.fullmatch(r"results/[^/]+/(task|model)\.json", described["path"]):
            place(described["path"], "results/<set>/task.json or model.json", bundles.ROOT)
    for described in root["documentation"]:
        if not described["path"].startswith("documentation/"):
            place(described["path"], "documentation/<name>", bundles.ROOT)


def listed(state: State, described: typed.Descriptor, by: str, *media: str, folder: str = "", payload: bool = False) -> bool:
    """Whether a described file is there, in its size, under one description; anything else is a finding. A record is
    without its payload."""
    path = f"{folder}/{described['path']}" if folder else str(described["path"])
    facts: Facts = {"mediaType": described["mediaType"], "size": described["size"], "digest": described["digest"]}
    # the set's manifest stands in the submission and in its result; any other file is listed once
    if path in state.described and (state.described[path] != facts or not path.endswith("/set.json")):
        apart = [k for k, said in facts.items() if state.described[path].get(k) != said]
        said, other = (", ".join(f"{k} {d.get(k)}" for k in apart) for d in (facts, state.described[path] or facts))
        state.findings.add("VXP-I006", path, f"listed in {by}", said or "listed a second time",
                           f"{other}, as it is listed elsewhere" if apart else "each file listed once, in one role")
        return False
    state.described[path] = facts
    if described["mediaType"] not in media:
        state.findings.add("VXP-S007", path, by, f"the media type {described['mediaType']!r}", " or ".join(media))
        return False
    if payload and state.record and path not in state.bundle.entries:
        state.not_checked("maps and curves", "a record is without them")
        return False
    if path not in state.bundle.entries:
        near = next((p for p in state.bundle.paths if p.casefold() == path.casefold()), None)
        state.findings.add("VXP-I001", path, f"listed in {by}", "no such file" + (f", but {near}" if near else ""),
                           f"{described['size']} bytes")
        return False
    if state.bundle.size(path) != described["size"]:
        state.findings.add("VXP-I002", path, f"listed in {by}", f"{state.bundle.size(path)} bytes",
                           f"{described['size']} bytes")
    return True


@overload
def document(state: State, path: str, kind: type[T], /) -> T | None: ...
@overload
def document(state: State, path: str, /, *kinds: type[Any]) -> Any: ...
def document(state: State, path: str, *kinds: type[Any]) -> Any:
    """A document of one of these types that its schema accepts; None with findings otherwise."""
    add, names = state.findings.add, [kind.__name__.lower() for kind in kinds]
    if path not in state.bundle.entries:
        return None
    if state.bundle.size(path) > store.MAX_JSON:
        add("VXP-S006", path, "", f"{state.bundle.size(path)} bytes", f"at most {store.MAX_JSON} bytes (16 MiB)")
        return None
    try:
        found = vxp_schemas.loads(state.bundle.read(path))
    except vxp_schemas.InvalidDocument as error:
        for fault in error.faults:
            add("VXP-S010", path, fault.pointer, fault.found, fault.expected)
        return None
    kind = TYPE.fullmatch(str(found.get("type"))) if isinstance(found, dict) else None
    if kind and kind[1] in vxp_schemas.DOCUMENT_TYPES.values():
        known = vxp_schemas.SPEC_VERSION
        if kind[2] != "1" or found.get("spec_version", known) != known:
            add("VXP-S013", path, "/spec_version" if kind[2] == "1" else "/type",
                f"{found['type']} of version {found.get('spec_version')!r}", f"version 1 of the document and {known!r}")
            return None
        if kind[1] not in names:
            add("VXP-S012", path, "/type", f"a document {kind[1]!r}", " or ".join(f"a document {n!r}" for n in names))
            return None
    try:
        vxp_schemas.validate(found)
    except vxp_schemas.InvalidDocument as error:
        for fault in error.faults:
            hint = f"{fault.expected} ({fault.hint})" if fault.hint else fault.expected
            add("VXP-S011", path, fault.pointer, fault.found, hint)
        return None
    return found


def _set(state: State, found: ASet) -> ASet:
    manifest = found.document
    if listed(state, manifest["items"], found.path, store.PARQUET, folder=found.folder) and _small(state, found.items_path):
        found.items = opened(state, found.items_path, lambda stream, size: arrays.table(
            stream, size, arrays.ITEMS, manifest["items"].get("rows")))
    for shard in manifest["shards"]:
        tensors = None
        if listed(state, shard["descriptor"], found.path, store.SAFETENSORS, folder=found.folder, payload=True):
            tensors = opened(state, found.inside(shard["descriptor"]["path"]), arrays.tensors)
        found.shards.append(_values(state, found, shard, tensors))
    return found


def _values(
    state: State, found: ASet, shard: typed.SetShard, tensors: Mapping[str, arrays.Tensor] | None,
) -> arrays.Tensor | None:
    """The maps of a shard, where its header is what the manifest says."""
    if tensors is None:
        return None
    path, grid = found.inside(shard["descriptor"]["path"]), GRIDS[found.document["kind"]]
    there = {name: {"dtype": t.dtype, "shape": list(t.shape)} for name, t in tensors.items()}
    if there != shard["tensors"]:
        state.findings.add("VXP-C001", path, "header", f"{there}"[:400], f"{shard['tensors']}, as set.json says"[:400])
        return None
    values = tensors.get("values")
    types = ("U8",) if found.document["kind"] in BYTES else ("F16", "F32")
    wanted = f"one tensor 'values' [rows, {', '.join(grid)}] of {' or '.join(types)}"
    others = {}
    if found.document["kind"] == "temporal" and values is not None:
        wanted += ", 'lengths' [rows] and 'segments' [rows, parts, 2] of I64"
        others = {LENGTHS: values.shape[:1], SEGMENTS: (*values.shape, 2)}
    if {name: t.shape for name, t in tensors.items() if t.dtype == "I64"} != others or values is None \
            or len(tensors) != 1 + len(others) or values.dtype not in types \
            or len(values.shape) != 1 + len(grid) or 0 in values.shape:
        state.findings.add("VXP-C001", path, "header", f"{there}"[:400], wanted)
        return None
    if values.shape[0] != shard["rows"]:
        state.findings.add("VXP-C003", path, "header", f"{values.shape[0]} maps", f"{shard['rows']} rows, as set.json says")
        return None
    if values.stop - values.start > store.SHARD_BYTES:
        state.findings.add("VXP-S006", path, "", f"{values.stop - values.start} bytes of maps", f"at most {store.SHARD_BYTES}")
        return None
    return values


def _result(state: State, found: AResult) -> AResult:
    document_ = found.document
    listed(state, document_["set"], found.path, store.JSON)
    signatures = [s["signature"] for s in document_["scores"]]
    if len(set(signatures)) < len(signatures):
        twice = next(s for s in signatures if signatures.count(s) > 1)
        state.findings.add("VXP-S011", found.path, "/scores", f"the signature {twice!r} twice", "each signature once")
        signatures = list(dict.fromkeys(signatures))
    if listed(state, document_["samples"], found.path, store.PARQUET) and _small(state, found.samples_path):
        found.samples = opened(state, found.samples_path, lambda stream, size: arrays.table(
            stream, size, arrays.samples_columns(signatures), document_["samples"].get("rows")))
    beside = document_.get("reference_samples")
    if beside is not None and listed(state, beside, found.path, store.PARQUET) and _small(state, beside["path"]):
        found.reference_samples = opened(state, beside["path"], lambda stream, size: arrays.table(
            stream, size, arrays.REFERENCES, beside.get("rows")))
    if listed(state, document_["environment"], found.path, store.JSON):
        found.environment = document(state, document_["environment"]["path"], typed.Environment)
    for kind in ("curves", "statistics", "reference_statistics"):
        if kind in document_ and listed(
                state, document_[kind], found.path, store.SAFETENSORS, payload=kind == "curves"):
            path = document_[kind]["path"]
            tensors = opened(state, path, arrays.tensors) if _small(state, path) else None
            for name, tensor in (tensors or {}).items():
                if tensor.stop - tensor.start > arrays.MAX_TENSOR:
                    state.findings.add("VXP-S006", path, f"tensor {name}", f"{tensor.stop - tensor.start} bytes",
                                       f"at most {arrays.MAX_TENSOR} bytes (512 MiB) in a tensor of a result")
                    tensors = None
            setattr(found, kind, tensors)
    return found


def _small(state: State, path: str) -> bool:
    """Whether a table, or a result's arrays, keep to the cap on their file."""
    size = state.bundle.size(path)
    if size > store.MAX_ARRAYS:
        state.findings.add("VXP-S006", path, "", f"{size} bytes", f"at most {store.MAX_ARRAYS} bytes (2 GiB) in a table, or "
                           "in a result's curves or statistics")
    return size <= store.MAX_ARRAYS


def opened(state: State, path: str, read: Callable[[Any, int], T]) -> T | None:
    """What a reader of arrays gives, or None with a finding."""
    code = "VXP-S020" if path.endswith(".safetensors") else "VXP-S021"
    try:
        with state.bundle.stream(path) as stream:
            return read(stream, state.bundle.size(path))
    except Malformed as error:
        state.findings.add(code, path, "", error.found, error.expected)
    except VxpError as error:
        state.findings.add("VXP-S022", path, "", str(error), "a table within its caps")
    return None


def _text(state: State, path: str) -> None:
    if state.bundle.size(path) > MAX_TEXT:
        state.findings.add("VXP-S006", path, "", f"{state.bundle.size(path)} bytes", f"at most {MAX_TEXT} bytes of text")
        return
    data = state.bundle.read(path, MAX_TEXT)
    try:
        data.decode("utf-8")
        bad = b"\0" in data
    except UnicodeDecodeError:
        bad = True
    if bad:
        state.findings.add("VXP-S007", path, "", f"bytes that are no text ({data[:8].hex()} ...)", "UTF-8 text")
