"""The machine-readable standard: strict reader, schemas and their dialect, registry, identity by content."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import vxp_schemas
from jsonschema import Draft202012Validator
from vxp_schemas import InvalidDocument, SchemaError, UnknownName

EXAMPLES = Path(__file__).parent / "schema_examples"
NAMES = tuple(vxp_schemas.DOCUMENT_TYPES.values())
DELETE = object()


def example(name: str) -> Any:
    return vxp_schemas.loads((EXAMPLES / f"{name}.json").read_bytes())


def changed(document: Any, pointer: str, value: Any) -> Any:
    """A copy with the value at a pointer set or, for DELETE, removed."""
    whole = copy.deepcopy(document)
    *parents, last = pointer.removeprefix("/").split("/")
    place = whole
    for part in parents:
        place = place[int(part) if isinstance(place, list) else part.replace("~1", "/")]
    key: Any = int(last) if isinstance(place, list) else last.replace("~1", "/")
    if value is DELETE:
        del place[key]
    else:
        place[key] = value
    return whole


def faults(document: Any) -> dict[str, vxp_schemas.Fault]:
    with pytest.raises(InvalidDocument) as caught:
        vxp_schemas.validate(document)
    return {fault.pointer: fault for fault in caught.value.faults}


# ------------------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_each_type_is_valid(name: str) -> None:
    document = example(name)
    assert document["type"] == f"https://vxp.example/{name}/v1"
    vxp_schemas.validate(document)


# document, pointer of the change, new value, pointer of the fault, what the message must name
MUTATIONS: list[tuple[str, str, Any, str, tuple[str, ...]]] = [
    ("model", "/fusion", "median", "/fusion", ('"median"', "log-mean-exp")),
    ("model", "/input/layout", "tbchw", "/input/layout", ('"tbchw"', "btchw")),
    ("result", "/spec_version", "1.0.0", "/spec_version", ('"1.0.0"', "1.0.0-draft.2")),
    ("result", "/created", "2026-01-31 12:00", "/created", ("2026-01-31 12:00", "UTC")),
    ("result", "/created", DELETE, "/created", ("nothing", "created")),
    ("result", "/division", "close", "/division", ('"close"', "did you mean 'closed'?")),
    ("result", "/scores/0/signature", "deletion", "/scores/0/signature", ('"deletion"', "id@version")),
    ("result", "/scores/0/signature", "deletion@0", "/scores/0/signature", ('"deletion@0"',)),
    ("result", "/scores/0/n", -1, "/scores/0/n", ("-1", "at least 0")),
    ("result", "/scores/0/n", 2.5, "/scores/0/n", ("2.5", "integer")),
    ("result", "/scores/0/n", True, "/scores/0/n", ("true", "integer")),
    ("result", "/scores/0/mean", "0.31", "/scores/0/mean", ('"0.31"', "number")),
    ("result", "/scores/0/mean", None, "/scores/0/mean", ("null", "number")),
    ("result", "/scores/0/sd", -0.5, "/scores/0/sd", ("-0.5", "at least 0")),
    ("result", "/scores/0/range", [0], "/scores/0/range", ("array of 1", "at least 2")),
    ("result", "/scores/0/range", [0, 1, 2], "/scores/0/range", ("array of 3", "at most 2")),
    (
        "result",
        "/scores/0/statuses/undefined:constant-mop",
        1,
        "/scores/0/statuses/undefined:constant-mop",
        ("undefined:constant-mop", "did you mean 'undefined:constant-map'?"),
    ),
    ("result", "/scores/0/statuses/ok", 0, "/scores/0/statuses/ok", ("0", "at least 1")),
    ("result", "/scores/0/ci/level", 1, "/scores/0/ci/level", ("1", "less than 1")),
    ("result", "/scores/0/ci/method", "bca", "/scores/0/ci/method", ('"bca"', "bootstrap-t")),
    ("result", "/scores/0/ci/lo", DELETE, "/scores/0/ci/lo", ("nothing", "lo")),
    ("result", "/scores", [], "/scores", ("[]", "at least 1")),
    ("result", "/scores/0/metric/digest", DELETE, "/scores/0/metric/digest", ("nothing", "digest")),
    ("result", "/task/digest", "sha256:" + "A" * 64, "/task/digest", ("sha256:AAAA", "lower case")),
    ("result", "/task/digest", "md5:" + "a" * 32, "/task/digest", ("md5:", "sha256")),
    ("result", "/cost/explain/forward_row", 3, "/cost/explain/forward_row", ("did you mean 'forward_rows'?",)),
    ("result", "/settings/precision", "fp16", "/settings/precision", ('"fp16"', "bf16")),
    ("result", "/settings/limit", 0, "/settings/limit", ("0", "at least 1")),
    ("result", "/flags", ["few-clusters", "few-clusters"], "/flags", ("entries that all differ",)),
    ("result", "/extensions/speed", 1, "/extensions/speed", ("the key", "speed", "address")),
    ("result", "/samples/path", "../samples.parquet", "/samples/path", ("../samples.parquet", "relative POSIX path")),
    ("result", "/samples/path", "/etc/passwd", "/samples/path", ("/etc/passwd",)),
    ("result", "/samples/path", "a/./b", "/samples/path", ("a/./b",)),
    ("result", "/samples/path", "a\\b", "/samples/path", ("a\\\\b",)),
    ("set", "/n_items/presnt", 24, "/n_items/presnt", ("did you mean 'present'?",)),
    ("set", "/coverage", 1.01, "/coverage", ("1.01", "at most 1")),
    ("set", "/kind", "heatmap", "/kind", ('"heatmap"', "heatmap2d")),
    ("set", "/explainer/resample", "bicubic", "/explainer/resample", ('"bicubic"', "bilinear")),
    ("set", "/coordinate_frame", "image", "/coordinate_frame", ('"image"', "model_input")),
    ("set", "/shards/0/rows", 8193, "/shards/0/rows", ("8193", "at most 8192")),
    ("set", "/shards/0/tensors/values/dtype", "BF16", "/shards/0/tensors/values/dtype", ('"BF16"', "F32")),
    ("set", "/shards/0/tensors/values/shape", [24, -7, 7], "/shards/0/tensors/values/shape/1", ("-7", "at least 0")),
    ("set", "/shards", [], "/shards", ("at least 1",)),
    ("task", "/id", "Photos", "/id", ('"Photos"', "a-z")),
    ("task", "/id", "a" * 65, "/id", ("1 to 64",)),
    ("task", "/version", "1", "/version", ('"1"', "integer")),
    ("task", "/model/version", 0, "/model/version", ("0", "at least 1")),
    ("task", "/metrics/0", "deletion|Steps:28", "/metrics/0", ("deletion|Steps:28",)),
    ("task", "/targets", "prediction", "/targets", ('"prediction"', "did you mean 'predicted'?")),
    ("task", "/input_size", [224, 0], "/input_size/1", ("0", "at least 1")),
    ("task", "/truth", ["masks"], "/truth/0", ('"masks"', "did you mean 'mask'?")),
    ("task", "/items/path", "../items/photos@1.json", "/items/path", ("../items/photos@1.json",)),
    ("task", "/budget/max_passes", 1, "/budget/max_passes", ("did you mean 'max_passes_per_map'?",)),
    ("task", "/budget/explainers/rise", 500, "/budget/explainers/rise", ("500", "object")),
    ("dataset", "/access", "wheel", "/access", ('"wheel"', "packages")),
    ("dataset", "/files/0/digest", "0" * 64, "/files/0/digest", ("sha256:",)),
    ("dataset", "/licence", "MIT", "/licence", ("did you mean 'license'?",)),
    ("model", "/id", "torchvision/vgg16", "/id", ("torchvision/vgg16",)),
    ("model", "/input/normalization/std/1", 0, "/input/normalization/std/1", ("0", "more than 0")),
    ("model", "/eval_mode", False, "/eval_mode", ("false", "true")),
    ("model", "/classes/count", DELETE, "/classes/count", ("nothing", "Number of logits")),
    ("model", "/accuracy/top1", 75.1, "/accuracy/top1", ("75.1", "at most 1")),
    ("metric", "/better", "up", "/better", ('"up"', "higher")),
    ("metric", "/clause", "docs/deletion.md", "/clause", ("docs/deletion.md",)),
    ("metric", "/parameters/0/default", DELETE, "/parameters/0/default", ("nothing", "default")),
    ("metric", "/parameters", {"steps": 224}, "/parameters", ("an object of 1", "array")),
    ("metric", "/level", "item", "/level", ('"item"', "sample")),
    ("environment", "/packages/0/version", DELETE, "/packages/0/version", ("nothing", "version")),
    ("environment", "/cpu/cores", 0, "/cpu/cores", ("0", "at least 1")),
    ("environment", "/variables/PATH", 3, "/variables/PATH", ("3", "string")),
    ("environment", "/git/0/commit", "main", "/git/0/commit", ('"main"', "hexadecimal")),
    ("system", "/method/family", "cams", "/method/family", ('"cams"', "did you mean 'cam'?")),
    ("system", "/method/needs/gradient", True, "/method/needs/gradient", ("did you mean 'gradients'?",)),
    ("system", "/method/parameters/Layer", 1, "/method/parameters/Layer", ("the key", "Layer")),
    ("system", "/implementation/entry_point", "", "/implementation/entry_point", ('""', "at least 1")),
    ("signature", "/submitter/contact", DELETE, "/submitter/contact", ("nothing", "contact")),
    ("withdrawal", "/reason", "", "/reason", ('""', "at least 1")),
    ("trust", "/roles/auditors/threshold", 0, "/roles/auditors/threshold", ("0", "at least 1")),
    ("trust", "/identities/a-lab/keyids/0", "a" * 63, "/identities/a-lab/keyids/0", ("id of a public key",)),
    ("trust", "/identities/reviewers/sigstore/0/issuer", "example.org", "/identities/reviewers/sigstore/0/issuer", ("http",)),
    ("run", "/explainers/0/parameters", DELETE, "/explainers/0/parameters", ("nothing", "parameters")),
    ("run", "/metrics/0", "deletion", "/metrics/0", ('"deletion"',)),
    ("run", "/settings/batch_size", 0, "/settings/batch_size", ("0", "at least 1")),
    ("run", "/settings/device", "gpu", "/settings/device", ('"gpu"', "cuda")),
]


@pytest.mark.parametrize(("name", "pointer", "value", "where", "said"), MUTATIONS)
def test_one_wrong_thing_is_one_fault_that_names_it(
    name: str, pointer: str, value: Any, where: str, said: tuple[str, ...]
) -> None:
    found = faults(changed(example(name), pointer, value))
    assert list(found) == [where]
    for words in said:
        assert words in str(found[where])


def required_fields() -> Iterator[tuple[str, str]]:
    return ((name, field) for name in NAMES for field in vxp_schemas.schema(name)["required"])


@pytest.mark.parametrize(("name", "field"), [*required_fields(), *((name, "spec_version") for name in NAMES)])
def test_a_missing_field_is_named(name: str, field: str) -> None:
    found = faults(changed(example(name), f"/{field}", DELETE))
    assert list(found) == [f"/{field}"]
    assert f"the field '{field}'" in found[f"/{field}"].expected


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_field_is_refused_at_every_level(name: str) -> None:
    for place in _closed_objects(example(name), ""):
        where = f"{place}/zzz"
        assert where in faults(changed(example(name), where, 1)), where


def _closed_objects(value: Any, pointer: str) -> Iterator[str]:
    """Pointers of the objects whose fields the standard names; maps keyed by names of others are left out."""
    free = (
        "parameters",
        "parameters_passed",
        "kwargs",
        "extensions",
        "variables",
        "determinism",
        "tensors",
        "explainers",
    )
    if isinstance(value, dict):
        yield pointer
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        if not (isinstance(child, dict) and key in free):
            yield from _closed_objects(child, f"{pointer}/{key}")


def test_all_faults_are_reported_at_once() -> None:
    document = changed(changed(example("result"), "/division", "x"), "/scores/0/n", -1)
    document["result_idd"] = document.pop("result_id")
    found = faults(document)
    assert set(found) == {"/division", "/scores/0/n", "/result_id", "/result_idd"}
    assert found["/result_idd"].hint == "did you mean 'result_id'?"
    with pytest.raises(InvalidDocument, match=r"result document, 4 faults:\n") as caught:
        vxp_schemas.validate(document)
    assert all(str(fault) in str(caught.value) for fault in found.values())
    assert isinstance(caught.value, ValueError)


def test_a_wrong_header_does_not_make_its_fields_unknown() -> None:
    assert list(faults(changed(example("result"), "/generator", 3))) == ["/generator"]


@pytest.mark.parametrize("name", ["task", "result"])
def test_a_trailing_newline_is_refused_in_ids_digests_and_paths(name: str) -> None:
    document = example(name)
    for where in {
        "task": ("/id", "/dataset/digest", "/items/path", "/metrics/0"),
        "result": ("/result_id", "/task/id", "/samples/path", "/created", "/scores/0/signature"),
    }[name]:
        value: Any = document
        for part in where[1:].split("/"):
            value = value[int(part) if isinstance(value, list) else part]
        assert list(faults(changed(document, where, value + "\n"))) == [where]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "type"),
        (None, "type"),
        ("x", "type"),
        ({}, "no field 'type'"),
        ({"type": 3}, "3"),
        ({"type": None}, "null"),
        ({"type": "https://vxp.example/result/v2"}, "result/v2"),
        ({"type": "https://vxp.example/resutl/v1"}, "did you mean 'https://vxp.example/result/v1'?"),
        ({"type": "https://vxp.example/result/v1\n"}, "result/v1"),
    ],
)
def test_the_type_decides_before_anything_else(document: Any, said: str) -> None:
    with pytest.raises(InvalidDocument, match=re.escape(said)) as caught:
        vxp_schemas.validate(document)
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, (1, 2), b"x", {1: 2}, "\ud800", "\uffff", Path()])
def test_values_that_no_schema_sees_are_refused(value: Any) -> None:
    document = changed(example("result"), "/explainer/parameters/layer", value)
    assert list(faults(document)) == ["/explainer/parameters/layer"]


def test_validating_never_opens_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    for name in NAMES:
        document = example(name) | {"$schema": "https://elsewhere.example/schema", "$ref": "https://elsewhere.example"}
        assert set(faults(document)) == {"/$schema", "/$ref"}


def test_an_independent_run_of_the_plain_engine_agrees_on_the_examples() -> None:
    """The keywords that we replace only refuse more and speak better: the plain engine accepts the examples too."""
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    bundled = {n: vxp_schemas.schema(n) for n in (*NAMES, "defs")}
    resources = Registry().with_resources([(s["$id"], DRAFT202012.create_resource(s)) for s in bundled.values()])
    for name in NAMES:
        engine = Draft202012Validator(bundled[name], registry=resources)
        assert list(engine.iter_errors(example(name))) == []
        assert not engine.is_valid(example(name) | {"unknown_field": 1})
    for name, pointer, value, *_ in MUTATIONS:
        engine = Draft202012Validator(bundled[name], registry=resources)
        assert not engine.is_valid(changed(example(name), pointer, value)), (name, pointer)


# --------------------------------------------------------------------------------------------------------- dialect

# keywords by what their value is
SUBSCHEMA = {"items", "additionalProperties", "propertyNames"}
SUBSCHEMAS = {"properties", "$defs"}
PLAIN = {
    "$schema",
    "$id",
    "$ref",
    "title",
    "description",
    "type",
    "const",
    "enum",
    "required",
    "unevaluatedProperties",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
}


def subschemas(schema: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield where, schema
    for keyword, value in schema.items():
        if keyword in SUBSCHEMA:
            yield from subschemas(value, f"{where}/{keyword}")
        elif keyword in SUBSCHEMAS:
            for name, child in value.items():
                yield from subschemas(child, f"{where}/{keyword}/{name}")
        elif keyword == "prefixItems":
            for number, child in enumerate(value):
                yield from subschemas(child, f"{where}/prefixItems/{number}")


ALL_SUBSCHEMAS = [pair for n in (*NAMES, "defs") for pair in subschemas(vxp_schemas.schema(n), n)]


@pytest.mark.parametrize("name", [*NAMES, "defs"])
def test_schemas_are_schemas_of_2020_12_under_their_own_address(name: str) -> None:
    schema = vxp_schemas.schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"https://vxp.example/schemas/v1/{name}.schema.json"
    assert schema["title"]
    assert schema["description"]


def test_schemas_use_only_the_keywords_of_the_dialect() -> None:
    known = SUBSCHEMA | SUBSCHEMAS | PLAIN | {"prefixItems"}
    assert {where: set(s) - known for where, s in ALL_SUBSCHEMAS if set(s) - known} == {}


def test_every_property_and_definition_has_a_description() -> None:
    silent = [
        f"{where}/{keyword}/{name}"
        for where, s in ALL_SUBSCHEMAS
        for keyword in SUBSCHEMAS
        for name, child in s.get(keyword, {}).items()
        if not child.get("description", "").strip()
    ]
    assert silent == []


def test_every_object_with_named_fields_is_closed() -> None:
    # the header is mixed into the documents, and they close over it
    opened = [where for where, s in ALL_SUBSCHEMAS if "properties" in s and s.get("unevaluatedProperties") is not False]
    assert opened == ["defs/$defs/header"]
    assert all(vxp_schemas.schema(n)["$ref"] == "defs.schema.json#/$defs/header" for n in NAMES)


def test_required_fields_are_declared() -> None:
    header = vxp_schemas.schema("defs")["$defs"]["header"]["properties"]
    for where, s in ALL_SUBSCHEMAS:
        names = set(s.get("properties", {})) | (set(header) if "$ref" in s else set())
        assert set(s.get("required", ())) <= names, where


def test_references_name_a_bundled_definition() -> None:
    definitions = vxp_schemas.schema("defs")["$defs"]
    references = {s["$ref"] for _, s in ALL_SUBSCHEMAS if "$ref" in s}
    assert {r.removeprefix("defs.schema.json#/$defs/") for r in references} <= set(definitions)


def test_patterns_are_anchored_and_mean_the_same_in_every_engine() -> None:
    for where, s in ALL_SUBSCHEMAS:
        pattern = s.get("pattern", "^$")
        assert pattern.startswith("^"), where
        assert pattern.endswith("$"), where
        # \d, \w, \s and \b cover other characters in Python than in ECMA-262; \u with four digits is the same
        assert not re.search(r"\\(?!u[0-9a-f]{4})[^tnr]", pattern), where


def test_the_status_codes_of_the_schema_and_of_the_registry_are_one_list() -> None:
    assert vxp_schemas.schema("defs")["$defs"]["status"]["enum"] == list(vxp_schemas.STATUSES)
    groups = {code.partition(":")[0] for code in vxp_schemas.STATUSES}
    assert groups == {"ok", "undefined", "failed", "not-run"}
    assert all(text.endswith(".") for text in vxp_schemas.STATUSES.values())


def test_a_schema_that_does_not_exist_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'result'"):
        vxp_schemas.schema("results")


def test_a_schema_handed_out_can_be_changed_without_harm() -> None:
    vxp_schemas.schema("result")["required"].clear()
    assert "task" in vxp_schemas.schema("result")["required"]


# --------------------------------------------------------------------------------------------------- strict reader


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xef\xbb\xbf{}", "UTF-8 byte-order mark"),
        ("{}".encode("utf-16"), "byte-order mark"),
        ("{}".encode("utf-16-le"), "UTF-16"),
        ("{}".encode("utf-16-be"), "UTF-16"),
        ("{}".encode("utf-32"), "byte-order mark"),
        ("1".encode("utf-32-be"), "UTF-32"),
        (b'"\xe9"', "byte 0xe9 at offset 1"),
        (b'"\xed\xa0\x80"', "offset 1"),
        (b'{"mean": 1, "mean": 2}', '/mean: found the key "mean" more than once'),
        (b'[{"a": {"b": 1, "b": 1}}]', "/0/a/b: found the key"),
        (b'{"a\\u0062": 1, "ab": 2}', "/ab: found the key"),
        (b'{"a": {"x": 1, "x": 2}, "a": {}}', "/a: found the key"),
        (b"[NaN]", "/0: found NaN"),
        (b'{"a": -Infinity}', "/a: found -Infinity"),
        (b"Infinity", "found Infinity"),
        (b"[1, 1e400]", "/1: found 1e400"),
        (b"-1e309", "-1e309"),
        (b"9007199254740992", "9007199254740992"),
        (b"-9007199254740992", "-9007199254740992"),
        (b"1" * 5000, "(5000 digits)"),
        (b'["\\ud800"]', "/0: found the text"),
        (b'["\\uffff"]', "noncharacters"),
        (b'{"\\udc00": 1}', "surrogates"),
        (b"[" * 65 + b"]" * 65, "at most 64 levels"),
        (b"[" * 100_000 + b"]" * 100_000, "at most 64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "at most 64 levels"),
        (b"", "line 1, column 1"),
        (b"{}\n{}", "line 2, column 1"),
        (b"{'a': 1}", "line 1, column 2"),
        (b"[1,]", "well-formed JSON"),
        (b'"a\nb"', "well-formed JSON"),
        (b"[01]", "well-formed JSON"),
        (b'"' + b"x" * (16 * 2**20) + b'"', "at most 16777216 bytes"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else None,
)
def test_the_strict_reader_refuses(data: bytes, said: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        vxp_schemas.loads(data)
    assert said in str(caught.value)


def test_the_strict_reader_reports_every_refused_value() -> None:
    with pytest.raises(InvalidDocument) as caught:
        vxp_schemas.loads(b'{"a": [1e400, {"b": NaN, "b": 2}], "c/d~e": 9007199254740993, "c/d~e": Infinity}')
    assert [fault.pointer for fault in caught.value.faults] == ["/c~1d~0e", "/a/0", "/a/1/b", "/c~1d~0e"]


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"9007199254740991", 2**53 - 1),
        (b"-9007199254740991", 1 - 2**53),
        (b"1.7976931348623157e308", 1.7976931348623157e308),
        (b"-0", 0),
        (b' {"a": [1, 2.5, true, null, "\\u00e9\\ud83d\\ude00"]}\n', {"a": [1, 2.5, True, None, "é😀"]}),
        ('"é😀"'.encode(), "é😀"),
        (b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
    ],
)
def test_the_strict_reader_reads(data: bytes, value: Any) -> None:
    assert vxp_schemas.loads(data) == value


def test_the_strict_reader_takes_64_levels() -> None:
    value = vxp_schemas.loads(b"[" * 64 + b"]" * 64)
    for _ in range(63):
        (value,) = value
    assert value == []


# -------------------------------------------------------------------------------------------- identity by content


def test_canonical_form_and_digest_have_the_known_values() -> None:
    # RFC 8785 section 3.2.2 (numbers and strings) and 3.2.3 (order of keys by UTF-16 code units)
    document = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f",
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    ).encode()
    assert vxp_schemas.canonical(document) == expected
    assert vxp_schemas.canonical({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()
    assert vxp_schemas.digest(document) == "sha256:" + hashlib.sha256(expected).hexdigest()
    assert vxp_schemas.digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert vxp_schemas.digest({"a": 1.0, "b": 2}) == vxp_schemas.digest({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [math.nan, -math.inf, 2**53, "\ud800", [math.nan]])
def test_a_value_without_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(InvalidDocument):
        vxp_schemas.canonical(value)


def test_file_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert vxp_schemas.file_digest(tmp_path / "file") == (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@pytest.mark.parametrize("name", ["task", "dataset", "model"])
def test_a_reference_carries_the_digest_of_the_whole_document(name: str) -> None:
    document = example(name)
    assert vxp_schemas.reference(document) == {
        "id": document["id"],
        "version": 1,
        "digest": vxp_schemas.digest(document),
    }
    assert vxp_schemas.reference(document | {"title": "Another"})["digest"] != vxp_schemas.digest(document)


def test_a_metric_is_identified_by_what_it_computes() -> None:
    document = example("metric")
    identity = {
        key: document[key] for key in ("id", "version", "definition", "parameters", "better", "range", "clause")
    }
    assert vxp_schemas.metric_digest(document) == vxp_schemas.digest(identity)
    assert vxp_schemas.reference(document)["digest"] == vxp_schemas.metric_digest(document)
    for key in set(document) - {"type"}:
        other = vxp_schemas.metric_digest({**document, key: "changed"})
        assert (other == vxp_schemas.metric_digest(document)) == (key not in identity), key


def test_a_document_without_id_cannot_be_referred_to() -> None:
    with pytest.raises(SchemaError, match="without id, version"):
        vxp_schemas.reference(example("result"))
    with pytest.raises(SchemaError, match="without clause"):
        vxp_schemas.metric_digest({k: v for k, v in example("metric").items() if k != "clause"})


# ------------------------------------------------------------------------------------------------------- registry


@pytest.mark.parametrize("kind", ["tasks", "models", "datasets", "metrics"])
def test_registry_documents_are_valid_and_stand_under_their_name(kind: str) -> None:
    folder = Path(vxp_schemas.__file__).parent / "registry" / kind
    documents = vxp_schemas.registry(kind)
    assert sorted(documents) == sorted(path.name.removesuffix(".json") for path in folder.glob("*.json"))
    for name, document in documents.items():
        vxp_schemas.validate(document)
        assert document["type"] == f"https://vxp.example/{kind.removesuffix('s')}/v1"
        assert vxp_schemas.registry_document(kind, name) == document


def test_registered_tasks_refer_to_registered_objects_by_their_digest() -> None:
    for name, task in vxp_schemas.registry("tasks").items():
        for kind, ref in [
            ("datasets", task["dataset"]),
            *(("models", m) for m in (task["model"], *task.get("also_models", ()))),
        ]:
            found = vxp_schemas.registry_document(kind, f"{ref['id']}@{ref['version']}")
            assert vxp_schemas.reference(found) == ref, name
        if "items" in task:
            raw = vxp_schemas.registry_bytes(task["items"]["path"])
            assert "sha256:" + hashlib.sha256(raw).hexdigest() == task["items"]["digest"], name
            assert len(vxp_schemas.loads(raw)) == task["items"]["rows"] == task["budget"]["items"], name
        else:
            assert task["status"] == "template", name


def test_a_document_by_id_alone_is_its_highest_version(monkeypatch: pytest.MonkeyPatch) -> None:
    from vxp_schemas import _registry

    made = {f"photos@{v}": {"id": "photos", "version": v} for v in (1, 10, 2)}
    monkeypatch.setattr(_registry, "_documents", lambda kind: made)
    assert vxp_schemas.registry_document("tasks", "photos")["version"] == 10
    assert vxp_schemas.registry_document("tasks", "photos@2")["version"] == 2
    with pytest.raises(
        UnknownName, match=r"unknown task 'fotos'.*photos@1, photos@10, photos@2.*did you mean 'photos@"
    ):
        vxp_schemas.registry_document("tasks", "fotos")
    vxp_schemas.registry("tasks")["photos@1"]["id"] = "changed"
    assert made["photos@1"]["id"] == "photos"


def test_an_unknown_kind_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown registry kind 'task'.*did you mean 'tasks'"):
        vxp_schemas.registry("task")


@pytest.mark.parametrize(
    "path", ["items/none@1.json", "../__init__.py", "items/../statuses.json", "/etc/passwd", "items"]
)
def test_registry_files_that_are_not_there_or_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(SchemaError, match="expected a path such as"):
        vxp_schemas.registry_bytes(path)


def test_the_package_needs_neither_torch_nor_the_harness() -> None:
    program = (
        "import sys, vxp_schemas; vxp_schemas.schema('result'); vxp_schemas.registry('tasks'); "
        "print(sorted({'torch', 'numpy', 'vxp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_reads_its_data_where_there_is_no_source_tree(tmp_path: Path) -> None:
    package = Path(vxp_schemas.__file__).parent
    with zipfile.ZipFile(tmp_path / "vxp_schemas.zip", "w") as archive:
        for file in package.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, file.relative_to(package.parent))
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import vxp_schemas as v; "
        "v.validate(v.loads(open(sys.argv[2], 'rb').read())); "
        "print('.zip' in v.__file__, len(v.STATUSES), [len(v.registry(k)) for k in ('tasks', 'metrics')])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "vxp_schemas.zip"), str(EXAMPLES / "result.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    counts = [len(vxp_schemas.registry(kind)) for kind in ("tasks", "metrics")]
    assert done.stdout.strip() == f"True {len(vxp_schemas.STATUSES)} {counts}"


def test_examples_are_written_as_the_harness_writes_documents() -> None:
    for path in EXAMPLES.glob("*.json"):
        assert path.stem in NAMES
        text = path.read_text(encoding="utf-8")
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
