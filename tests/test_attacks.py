"""Mistakes and attacks that are known by name, each as a bundle that the validator must find; and what strangers' files
can do to the programs that read them: nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vxp_schemas
from bundle_tools import Broken, made_run, sealed
from rich.console import Console
from vxp import bundles, stats, validation
from vxp.bundles import cite, open_bundle
from vxp.core import VxpError
from vxp.documents import store
from vxp.documents.findings import Findings, plain, rules
from vxp.report import compare
from vxp.runs import map_files
from vxp.validation import arrays, validate
from vxp.validation.report import Report, show

DELETION = "deletion@1|steps:4|fill:mean"
DIGEST = "sha256:" + "0" * 64
TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attacks")
    return sealed(made_run(folder / "run", limit=8), folder / "bundle")


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Broken:
    return Broken(whole, tmp_path / "broken")


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator here: a process of its own costs seconds."""
    monkeypatch.setattr(validation, "apart", validate)
    monkeypatch.setattr(validation, "all_apart", lambda paths, level, strict=False, record=False: [
        (p, validate(p, level, record=record)) for p in paths])


def codes(found: Report) -> set[str]:
    return {f["code"] for f in found.findings}


# ------------------------------------------------------------------------------------------------ the forty-five by number

Change = Callable[[Broken], object]
ATTACKS: dict[int, list[tuple[str, str, Change | str]]] = {}
"""By number: what it is in words, the rule that finds it, and how it is made; or, where another command finds it, the test
that shows it. A change that returns False is not sealed again."""


def attack(number: int, words: str, code: str, change: Change | str) -> None:
    ATTACKS.setdefault(number, []).append((words, code, change))


def put(name: str, **values: Any) -> Change:
    """Set fields of a document by dotted path with `__`."""
    def change(b: Broken) -> None:
        def within(document: Any) -> None:
            for path, value in values.items():
                *parents, last = path.split("__")
                place = document
                for part in parents:
                    place = place[int(part) if part.isdigit() else part]
                place[int(last) if last.isdigit() else last] = value
        b.json(name, within)
    return change


def cell(name: str, column: str, row: int, value: Any) -> Change:
    return lambda b: b.table(name, lambda t: t[column].__setitem__(row, value))


def maps(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda b: b.tensors("shard", lambda t: t.update(values=np.ascontiguousarray(change(t["values"]), np.float32)))


def both(*changes: Change) -> Change:
    return lambda b: [change(b) for change in changes] and None


def left(change: Change) -> Change:
    """Without sealing again."""
    def changed(b: Broken) -> bool:
        change(b)
        return False
    return changed


def replaced(name: str, data: bytes) -> Change:
    return lambda b: b.path(name).write_bytes(data)


def within(name: str, pattern: bytes, new: bytes) -> Change:
    return left(lambda b: b.bytes(name, lambda d: re.sub(pattern, new, d, count=1)))


class Canary:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {CANARY}",)


CANARY = Path(os.environ.get("TMPDIR", "/tmp")) / f"vxp-canary-{os.getpid()}"


def saved(**arrays_: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays_)
    return sink.getvalue()


attack(1, "NaN in a map", "VXP-C002", maps(lambda v: np.where(np.arange(v.size).reshape(v.shape) == 70, np.nan, v)))
attack(2, "NaN in a document", "VXP-S010", within("result", rb'"mean": [0-9.e-]+', b'"mean": NaN'))
attack(2, "1e400", "VXP-S010", within("result", rb'"mean": [0-9.e-]+', b'"mean": 1e400'))
attack(3, "two means", "VXP-S010", within("result", rb'"mean": ', b'"mean": 0.5, "mean": '))
attack(4, "a byte-order mark", "VXP-S010", lambda b: b.bytes("system.json", lambda d: b"\xef\xbb\xbf" + d))
attack(4, "UTF-16 without a mark", "VXP-S010", lambda b: b.bytes("system.json", lambda d: d.decode().encode("utf-16-le")))
attack(5, "an id with a line feed at its end", "VXP-S011", put("submission.json", submission_id="name\n"))
attack(6, "names equal but for case", "VXP-S003", left(lambda b: b.path("SYSTEM.JSON").write_text("x")))
attack(6, "CON", "VXP-S003", left(lambda b: b.path("CON").write_text("x")))
attack(6, "a point at the end", "VXP-S003", left(lambda b: b.path("x.").write_text("x")))
for bad in ("../system.json", "/etc/passwd", "~root/x", "a\\b", "\\\\host\\share", "a/../../b", "./a", "a//b"):
    attack(7, f"the path {bad}", "VXP-S011", left(put("submission.json", system__path=bad)))
attack(8, "a link", "VXP-S004", left(lambda b: b.path("x").symlink_to("/etc/passwd")))
attack(8, "a hard link", "VXP-S004", left(lambda b: os.link(b.path("system.json"), b.path("x"))))
attack(8, "a pipe", "VXP-S004", left(lambda b: os.mkfifo(b.path("x"))))
attack(9, "an npz that unfolds", "VXP-S020", lambda b: replaced("shard", saved(values=np.zeros((50, 512, 512))))(b))
attack(9, "a table that unfolds", "VXP-S022", "test_validation.py::test_a_table_that_claims_more_than_its_cap_is_not_read")
attack(9, "a chunk store", "VXP-I004", left(lambda b: (b.path("values.zarr").mkdir(),
                                                       b.path("values.zarr/.zarray").write_text("{}"))))
attack(10, "a pickle as maps", "VXP-S020", lambda b: replaced("shard", pickle.dumps(Canary()))(b))
attack(10, "an archive of pickles as maps", "VXP-S020", lambda b: replaced(
    "shard", saved(values=np.array([Canary()], object)))(b))
attack(10, "a pickle as a table", "VXP-S021", lambda b: replaced("samples", pickle.dumps(Canary()))(b))
attack(10, "a pickle beside", "VXP-I004", left(lambda b: b.path("model.pt").write_bytes(pickle.dumps(Canary()))))
attack(11, "HDF5 as maps", "VXP-S020", replaced("shard", b"\x89HDF\r\n\x1a\n" + bytes(2048)))
attack(11, "HDF5 by its media type", "VXP-S007", put("set", shards__0__descriptor__mediaType="application/x-hdf5"))
attack(12, "a chunk store by its media type", "VXP-S007", put("set", shards__0__descriptor__mediaType="application/vnd.zarr"))
attack(12, "bytes missing at the end", "VXP-S020", lambda b: b.bytes("shard", lambda d: d[:-4096]))
attack(13, "an npy of 8 TB", "VXP-S020", replaced(
    "shard", b"\x93NUMPY\x01\x00v\x00"
    + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117) + b"\n"))
attack(14, "not listed", "VXP-I004", left(lambda b: b.path("x.json").write_text("{}")))
attack(14, "missing", "VXP-I001", left(lambda b: b.path("environment").unlink()))
attack(14, "another size", "VXP-I002", left(lambda b: b.bytes("environment", lambda d: d + b" ")))
attack(14, "another digest", "VXP-I003", left(lambda b: b.bytes("environment", lambda d: d[:-2] + b" \n" if d[-2:] != b" \n"
                                                                   else d[:-2] + b"\n ")))


def swapped(b: Broken) -> bool:
    b.tensors("shard", lambda t: t["values"].__setitem__([0, 1], t["values"][[1, 0]]))
    b.seal(rows=False)
    return False


attack(15, "maps of two rows swapped", "VXP-I005", swapped)
for bad in ("md5:" + "0" * 32, "sha256:" + "0" * 63, "sha256:" + "G" * 64, "0" * 64, "SHA256:" + "0" * 64):
    attack(16, f"the digest {bad[:12]}", "VXP-S011", left(put("submission.json", system__digest=bad)))
attack(17, "another shape", "VXP-C001", put("set", shards__0__tensors__values__shape=[8, 128, 32]))
attack(17, "another dtype", "VXP-C001", put("set", shards__0__tensors__values__dtype="F16"))
attack(17, "channels", "VXP-C001", both(lambda b: b.tensors("shard", lambda t: t.update(values=t["values"][:, None].copy())),
                                        put("set", shards__0__tensors__values__shape=[8, 1, 64, 64])))
attack(18, "maps of another orientation", "VXP-R005",
       "test_audit.py::test_maps_of_something_else_are_found_by_making_them_again_only")


def rolled(b: Broken) -> None:
    def roll(t: dict[str, list[Any]]) -> None:
        for name in ("item_id", "explanation_id"):
            t[name] = t[name][1:] + t[name][:1]
    b.table("items", roll)
    b.table("samples", roll)


attack(19, "items rolled by one", "VXP-C007", rolled)
attack(19, "maps rolled by one", "VXP-F008", "test_audit.py::test_inverted_and_moved_maps_are_flagged")
attack(20, "an item twice", "VXP-C006", lambda b: b.table("items", lambda t: t["item_id"].__setitem__(1, t["item_id"][0])))
attack(20, "one explanation under two ids", "VXP-F002", maps(lambda v: v[[0, 0, *range(2, len(v))]]))


def fewer(b: Broken) -> None:
    for name in ("items", "samples"):
        b.table(name, lambda t: t.update({k: v[:-1] for k, v in t.items()}))
    b.tensors("shard", lambda t: t.update(values=t["values"][:-1].copy()))
    put("set", shards__0__rows=7, shards__0__tensors__values__shape=[7, 64, 64], n_items__present=7, items__rows=7)(b)
    put("result", samples__rows=7)(b)


attack(21, "an item left out", "VXP-C007", fewer)
attack(21, "a part that calls itself closed", "VXP-K012", both(put("result", division="closed"),
                                                               put("submission.json", division="closed")))
attack(22, "an image of the training set", "VXP-C007", lambda b: [
    b.table(n, lambda t: t["item_id"].__setitem__(0, "train/0")) for n in ("items", "samples")] and None)
attack(23, "another image under the id", "VXP-R003", "test_audit.py::test_other_weights_or_preprocessing_or_target")
attack(24, "another revision of the data", "VXP-K002", both(put("set", dataset__digest=DIGEST),
                                                            put("result", dataset__digest=DIGEST)))
attack(25, "another model under the name", "VXP-K003", both(put("set", model__digest=DIGEST),
                                                            put("result", model__digest=DIGEST)))
attack(25, "other weights", "VXP-R003", "test_audit.py::test_other_weights_or_preprocessing_or_target")
attack(26, "other preprocessing", "VXP-R003", "test_audit.py::test_other_weights_or_preprocessing_or_target")
attack(27, "another target", "VXP-C009", lambda b: b.table("items", lambda t: t["target"].__setitem__(
    0, (t["target"][0] + 1) % 8)))
attack(27, "targets of another policy", "VXP-C009", cell("items", "target_source", 0, "label"))
attack(28, "scores changed", "VXP-R001", "test_audit.py::test_a_score_that_was_changed_by_a_hundredth")
attack(28, "a status changed", "VXP-R002", "test_audit.py::test_a_status_that_was_changed")
attack(29, "a mean changed", "VXP-K010", lambda b: b.json("result", lambda d: d["scores"][0].update(
    mean=d["scores"][0]["mean"] + 1e-6)))
attack(29, "a reference made worse under its old mean", "VXP-K010", lambda b: b.table("references", lambda t: t.update(
    value=[v if v is None else v / 2 for v in t["value"]])))
attack(29, "a reference's mean made worse", "VXP-K010", lambda b: b.json("result", lambda d: d["references"][0]["scores"][
    0].update(mean=0.0)))
attack(29, "a reference made worse, its mean with it", "VXP-K030",
       "test_leaderboard.py::test_references_unlike_the_repositorys_are_refused")
attack(29, "a reference's scores dealt to other items", "VXP-C024", lambda b: b.table("references", lambda t: t.update(
    item_id=t["item_id"][1:] + t["item_id"][:1])))
attack(29, "an interval changed", "VXP-K011", lambda b: b.json("result", lambda d: d["scores"][0]["ci"].update(
    hi=d["scores"][0]["mean"])))
attack(29, "an interval of another seed", "VXP-K011", lambda b: b.json("result", lambda d: d["scores"][0]["ci"].update(seed=5)))
attack(29, "counts changed", "VXP-K009", put("result", scores__0__n=9))
attack(30, "another version of a metric", "VXP-K005", put("result", scores__0__metric__version=2))
attack(30, "another definition of a metric", "VXP-K005", put("result", scores__0__metric__digest=DIGEST))
attack(30, "another parameter", "VXP-R001", "test_audit.py::test_scores_of_another_parameter")
attack(30, "the other direction", "VXP-K014", lambda b: b.json("result", lambda d: d["scores"][2].update(better="higher")))
attack(31, "a newer minor version", "VXP-S013", put("set", spec_version="1.1.0"))
attack(31, "an unknown major version", "VXP-S013", put("set", type="https://vxp.example/set/v2"))
attack(32, "a misspelt field", "VXP-S011", lambda b: b.json("set", lambda d: d.update(n_itmes=d["n_items"])))
attack(33, "a schema from elsewhere", "VXP-S011", left(put("submission.json", **{"$schema": "https://evil.example/s.json"})))
attack(33, "a reference to elsewhere", "VXP-S011", left(put("submission.json", **{"$ref": "file:///etc/passwd"})))
attack(34, "constant maps", "VXP-F001", maps(lambda v: np.zeros_like(v)))
attack(34, "one map for all", "VXP-F002", maps(lambda v: np.repeat(v[:1], len(v), 0)))
attack(34, "one map for all, with noise", "VXP-F002", maps(
    lambda v: v[:1] + 1e-3 * v[:1].max() * np.random.default_rng(0).random(v.shape)))
attack(34, "the centre-Gaussian", "VXP-F003", maps(lambda v: np.broadcast_to(
    np.exp(-0.5 * np.add.outer(*[((np.arange(64) - 31.5) / 16) ** 2] * 2)), v.shape) * (1 + np.arange(len(v))[:, None, None])))
attack(34, "noise", "VXP-F003", maps(lambda v: np.random.default_rng(0).random(v.shape)))
attack(34, "the edges or the truth", "VXP-F003", "test_audit.py::test_a_reference_under_another_name_is_flagged")
attack(35, "inverted maps", "VXP-F004", "test_audit.py::test_inverted_and_moved_maps_are_flagged")
attack(35, "negative values declared unsigned", "VXP-F010", maps(lambda v: -v))
attack(35, "absolute values declared signed", "VXP-F015", both(put("set", explainer__signed=True),
                                                               put("result", explainer__signed=True)))
attack(36, "maps of eight levels", "VXP-F005", maps(lambda v: np.floor(8 * v / v.max())))


def hidden(v: np.ndarray) -> np.ndarray:
    coarse = np.kron(v[:, ::16, ::16].astype(np.float16).astype(np.float32), np.ones((16, 16), np.float32))
    bits = np.random.default_rng(0).integers(0, 1 << 10, coarse.shape, np.uint32)
    return np.asarray(((coarse + np.float32(1)).view(np.uint32) & ~np.uint32(0x3FF) | bits).view(np.float32))


attack(37, "an answer in the low bits", "VXP-F009", maps(hidden))
attack(37, "maps that follow the answer", "VXP-R005",
       "test_audit.py::test_maps_of_something_else_are_found_by_making_them_again_only")
attack(38, "a gain on every item", "VXP-F012", "test_leaderboard.py::test_a_gain_on_every_item_is_flagged")
attack(39, "heat maps that are called regions", "VXP-C025", put("set", kind="regions"))
attack(39, "a region of several scores", "VXP-C029", "test_objects.py::test_regions_of_a_bundle_that_are_none_are_found")
attack(39, "a kind that the standard does not have", "VXP-S011", put("set", kind="graph"))
attack(40, "parts that do not divide the video", "VXP-C026", "test_temporal.py::test_what_divides_no_video_is_found")
attack(40, "parts of another video", "VXP-C027", "test_temporal.py::test_what_divides_no_video_is_found")
attack(41, "no time", "VXP-F006", lambda b: b.table("items", lambda t: t.update(runtime_ms=[0.0] * 8)))
attack(41, "negative time", "VXP-C013", cell("items", "runtime_ms", 0, -1.0))
attack(41, "negative passes", "VXP-C013", cell("items", "n_forwards", 0, -1))
attack(41, "costs that the rows do not have", "VXP-K016", put("result", cost__explain__seconds=0.0))
attack(42, "a branch for a commit", "VXP-S011", put("system.json", implementation__commit="main"))
attack(42, "a tag for a container", "VXP-S011", put("system.json", implementation__container_digest="lab/method:latest"))
attack(42, "changes without their digest", "VXP-F013", lambda b: put("environment", git=[
    {"name": "method", "commit": "0" * 40, "dirty": True}])(b))
attack(43, "changed after sealing", "VXP-I003", left(lambda b: b.bytes("shard", lambda d: d[:-1] + bytes([d[-1] ^ 1]))))
attack(43, "an audit of another bundle", "VXP-I007", "test_leaderboard.py::test_an_audit_of_another_bundle_is_refused")
attack(44, "one system under two names", "VXP-F011", "test_leaderboard.py::test_the_same_maps_under_another_name_are_flagged")
attack(44, "one of several repeats", "VXP-C013", lambda b: b.table("items", lambda t: t.update(repeat=[3] * 8)))
attack(45, "a check that breaks off", "exit 3", "test_validation.py::test_a_check_that_breaks_off_never_passes")
attack(45, "a process that dies", "exit 3", "test_validation.py::test_a_process_that_dies_never_passes")


@pytest.mark.parametrize(("number", "index"), [(n, i) for n, found in ATTACKS.items() for i in range(len(found))],
                         ids=[f"{n:02d}-{words.replace(' ', '-')}" for n, found in ATTACKS.items() for words, _, _ in found])
def test_every_known_attack_is_found(number: int, index: int, broken: Broken) -> None:
    _, code, change = ATTACKS[number][index]
    if isinstance(change, str):
        file, _, name = change.partition("::")
        assert f"def {name}(" in (TESTS / file).read_text(), change
        assert code in rules() or code == "exit 3"
        return
    if change(broken) is not False:
        broken.seal()
    found = validate(broken.folder)
    assert code in codes(found), found.findings
    assert rules()[code].severity == "flag" or found.exit_code == 1
    assert not found.stopped, found.checks
    assert not CANARY.exists()


def test_all_forty_five_are_tried() -> None:
    assert sorted(ATTACKS) == list(range(1, 46))


# --------------------------------------------------------------------------------------------------------- nothing is run


def test_the_folder_that_is_checked_is_no_place_to_import_from(whole: Path, tmp_path: Path) -> None:
    """A file numpy.py in the bundle, and a reviewer who stands in its folder."""
    bundle = shutil.copytree(whole, tmp_path / "b")
    for name in ("numpy", "vxp", "vxp_schemas", "json5", "sitecustomize", "pyarrow", "torch"):
        (bundle / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').write('x')\n")
    done = subprocess.run([sys.executable, "-P", "-m", "vxp", "validate", "."], cwd=bundle, capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 1
    assert "VXP-I004" in done.stdout
    assert not (tmp_path / "ran").exists()


def test_several_bundles_are_checked_in_one_process_of_its_own(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [whole, tmp_path / "nowhere\n", whole]
    found = validation.all_apart(paths, "structure")
    assert [p for p, _ in found] == paths
    assert [r.verdict for _, r in found] == ["no-errors-found (partial)", "invalid", "no-errors-found (partial)"]
    dying = tmp_path / "python"
    dying.write_text(f"#!/bin/sh\n{sys.executable} \"$@\" | head -n 1\nexit 139\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    assert [r.exit_code for _, r in validation.all_apart(paths, "structure")] == [0, 3, 3]


# ------------------------------------------------------------------------------------------------------ files of tensors


def tensor_file(header: bytes | dict[str, Any], data: bytes = bytes(64), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8 if isinstance(header, dict) else 0)
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def one(**changes: Any) -> dict[str, Any]:
    return {"values": {"dtype": "F32", "shape": [1, 4, 4], "data_offsets": [0, 64]} | changes}


SAFE = one()["values"]
HEADERS: dict[str, bytes] = {
    "overlapping": tensor_file({"values": SAFE, "more": SAFE}),
    "overlapping in part": tensor_file({"a": SAFE | {"shape": [8], "data_offsets": [0, 32]},
                                        "b": SAFE | {"shape": [12], "data_offsets": [16, 64]}}),
    "a hole at the start": tensor_file(one(data_offsets=[64, 128]), bytes(128)),
    "backwards": tensor_file(one(data_offsets=[64, 0])),
    "negative offsets": tensor_file(one(data_offsets=[-64, 0])),
    "negative sizes": tensor_file(one(shape=[-1, -4, 4])),
    "a shape that wraps around 64 bits": tensor_file(one(shape=[2**32, 2**32, 1])),
    "a shape beyond every integer": tensor_file(one(shape=[2**53 - 1] * 8)),
    "nine dimensions": tensor_file(one(shape=[1] * 8 + [16])),
    "no values": tensor_file(one(shape=[0, 2**50, 2**50], data_offsets=[0, 0]), b""),
    "truth values as sizes": tensor_file(one(shape=[True, 4, 4])),
    "fractions as sizes": tensor_file(one(shape=[1.0, 4, 4])),
    "texts as sizes": tensor_file(one(shape=["1", "4", "4"])),
    "a name twice": tensor_file(b'{"values":' + json.dumps(SAFE).encode() + b',"values":' + json.dumps(SAFE).encode() + b"}"),
    "a name that is no text": tensor_file(b'{"\xff":' + json.dumps(SAFE).encode() + b"}"),
    "a lone surrogate": tensor_file(b'{"\\ud800":' + json.dumps(SAFE).encode() + b"}"),
    "a byte-order mark": tensor_file(b"\xef\xbb\xbf" + json.dumps(one()).encode()),
    "another field": tensor_file(one(order="F")),
    "big-endian": tensor_file(one(dtype=">f4")),
    "bfloat16": tensor_file(one(dtype="BF16", data_offsets=[0, 32]), bytes(32)),
    "objects": tensor_file(one(dtype="O")),
    "notes that are no texts": tensor_file(one() | {"__metadata__": {"a": 1}}),
    "only notes": tensor_file({"__metadata__": {"a": "b"}}, b""),
    "too many": tensor_file({f"t{i}": {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i in range(1025)},
                            bytes(1025)),
    "too deep": tensor_file(b"[" * 5000 + b"]" * 5000),
    "a list": tensor_file(b"[]", b""),
    "no header": tensor_file(b"", b"", 0),
    "a header as long as every file": tensor_file(one(), length=2**64 - 1),
    "a header larger than its cap": tensor_file(json.dumps(one()).encode().ljust(2**20 + 1)),
    "NaN": tensor_file(b'{"values": NaN}'),
    "a tail": tensor_file(one(), bytes(65)),
    "a gap": tensor_file(one(), bytes(63)),
}


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_headers_of_tensors_are_refused_and_nothing_is_reserved(name: str) -> None:
    data = HEADERS[name]
    with pytest.raises(arrays.Malformed):
        arrays.tensors(io.BytesIO(data), len(data))


def test_a_good_header_is_read() -> None:
    data = tensor_file(one())
    assert arrays.tensors(io.BytesIO(data), len(data))["values"].shape == (1, 4, 4)


def test_a_manifest_that_claims_millions_of_rows_costs_nothing(broken: Broken) -> None:
    def claim(document: dict[str, Any]) -> None:
        shard = document["shards"][0]
        document["shards"] += [shard | {"rows": 8192, "first_row": 8 + 8192 * i, "descriptor": shard["descriptor"] | {
            "path": f"payload/{i + 1:05d}.safetensors"}} for i in range(9999)]
    broken.json("set", claim)
    broken.seal()
    began = time.monotonic()
    found = validate(broken.folder)
    assert {"VXP-I001", "VXP-C003"} <= codes(found)
    assert not found.stopped
    assert time.monotonic() - began < 60


def test_a_file_of_holes_is_not_hashed_for_years(broken: Broken) -> None:
    size = 2**43
    (broken.folder / "documentation").mkdir()
    try:
        with (broken.folder / "documentation" / "METHOD.md").open("wb") as file:
            file.truncate(size)
    except OSError:
        pytest.skip("no files of holes here")
    broken.json("submission.json", lambda d: d["documentation"].append(
        {"mediaType": "text/markdown", "path": "documentation/METHOD.md", "size": size, "digest": DIGEST}))
    began = time.monotonic()
    found = validate(broken.folder)
    assert "VXP-S006" in codes(found)
    assert found.verdict == "invalid"
    assert time.monotonic() - began < 60


def test_a_tensor_of_a_result_larger_than_its_cap_is_not_read(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MAX_TENSOR", 100)
    assert "VXP-S006" in codes(validate(broken.folder))
    monkeypatch.setattr(arrays, "MAX_TENSOR", 2**29)
    monkeypatch.setattr(store, "MAX_ARRAYS", 100)
    assert "VXP-S006" in codes(validate(broken.folder))


# ---------------------------------------------------------------------------------------------------------------- tables


def read(table: pa.Table, columns: dict[str, str] | None = None, rows: int | None = None, **options: Any) -> arrays.Table:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return arrays.table(io.BytesIO(sink.getvalue()), len(sink.getvalue()), columns or {"x": "text"}, rows)


def test_one_text_that_fills_memory_is_refused() -> None:
    with pytest.raises(VxpError, match="a text of 5000 characters"):
        read(pa.table({"x": ["a" * 5000, "b"]}))
    assert read(pa.table({"x": ["a" * 1024, "b"]})).columns["x"][1] == "b"


def test_texts_are_counted_over_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each group has a dictionary of its own, and each alone is small."""
    monkeypatch.setattr(arrays, "MAX_TEXTS", 100_000)
    table = pa.table({"x": [f"{i:04d}" + "a" * 900 for i in range(400)]})
    with pytest.raises(VxpError, match="bytes"):
        read(table, row_group_size=10)
    with pytest.raises(VxpError, match="row groups"):
        read(pa.table({"x": ["a"] * 10_001}), row_group_size=1)


def test_a_column_is_read_by_its_whole_name() -> None:
    """A reader that is asked for a column gives those as well whose names go on after a point."""
    table = pa.table({"a@1|x:1.5": pa.array([9.0, 9.0]), "a@1|x:1": pa.array([1.0, 2.0])})
    found = read(table, {"a@1|x:1.5": "float64", "a@1|x:1": "float64"})
    assert found["a@1|x:1"].tolist() == [1.0, 2.0]
    assert found["a@1|x:1.5"].tolist() == [9.0, 9.0]


@pytest.mark.parametrize(("words", "column"), [
    ("lists", pa.array([["a"], ["b"]])), ("structs", pa.array([{"a": "b"}] * 2)), ("maps", pa.array(
        [[("a", "b")]] * 2, pa.map_(pa.string(), pa.string()))), ("bytes", pa.array([b"a", b"b"])),
    ("decimals", pa.array([1, 2], pa.decimal128(5))), ("nothing", pa.nulls(2)), ("times", pa.array([1, 2], pa.timestamp("s"))),
])
def test_columns_of_other_types_are_refused(words: str, column: pa.Array) -> None:
    with pytest.raises(arrays.Malformed):
        read(pa.table({"x": column}))


def test_a_table_of_many_columns_is_refused() -> None:
    with pytest.raises(VxpError, match="2001 columns"):
        read(pa.table({f"c{i}": pa.array([0.0]) for i in range(2001)}), {f"c{i}": "float64" for i in range(2001)})


def test_a_column_twice_is_refused() -> None:
    with pytest.raises(arrays.Malformed, match="2 columns"):
        read(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["x", "x"]))


def test_numbers_behind_a_dictionary_are_the_numbers() -> None:
    found = read(pa.table({"x": pa.array([5, 6, 5], pa.int64()).dictionary_encode()}), {"x": "int64"})
    assert list(found["x"]) == [5, 6, 5]


def test_a_footer_that_lies_about_rows_is_refused(broken: Broken) -> None:
    """Every place of the footer where the number of rows could stand, one after the other."""
    data = broken.path("samples").read_bytes()
    length = struct.unpack("<I", data[-8:-4])[0]
    start, tried = len(data) - 8 - length, 0
    for at in range(start, len(data) - 8):
        if data[at] == 16:  # 8 rows in zigzag
            changed = data[:at] + bytes([18]) + data[at + 1:]
            tried += 1
            try:
                found = arrays.table(io.BytesIO(changed), len(changed), arrays.samples_columns(
                    [s["signature"] for s in json.loads(broken.path("result").read_bytes())["scores"]]), 8)
            except (arrays.Malformed, VxpError):
                continue
            assert all(len(c) == 8 for c in found.columns.values())
    assert tried > 0


# ------------------------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize(("words", "data"), [
    ("a key a hundred thousand times", b'{"a":0' + b',"a":0' * 100_000 + b"}"),
    ("two hundred thousand keys, one twice", b"{" + b",".join(b'"%d":0' % i for i in range(200_000)) + b',"7":1}'),
    ("a long key above many values", b'{"' + b"k" * 1_000_000 + b'":[' + b",".join([b"1e999"] * 100_000) + b"]}"),
    ("numbers that nobody can hold", b"[" + b",".join([b"9" * 1000] * 10_000) + b"]"),
    ("lists in lists", b"[" * 1_000_000),
    ("objects in objects", b'{"a":' * 500_000),
    ("a text that never ends", b'["' + b"a" * 10_000_000),
    ("surrogates", b'["\\ud800","\\udfff"]'),
    ("digits", b"[" + b"1" * 10_000_000 + b"]"),
])
def test_hostile_documents_end_soon_in_few_faults(words: str, data: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(vxp_schemas.InvalidDocument) as caught:
        vxp_schemas.loads(data)
    assert 1 <= len(caught.value.faults) <= 1000
    assert max(len(str(f)) for f in caught.value.faults) < 2000
    assert time.monotonic() - began < 20


def test_entries_of_several_types_are_compared_in_one_pass(whole: Path) -> None:
    document = json.loads((whole / "submission.json").read_bytes())
    document["system"]["locations"] = [1, "a"] * 50_000
    document |= {f"x{i}": 0 for i in range(50_000)} | {"k" * 100_000: 0}
    began = time.monotonic()
    with pytest.raises(vxp_schemas.InvalidDocument) as caught:
        vxp_schemas.validate(document)
    assert len(caught.value.faults) <= 1000
    assert max(len(str(f)) for f in caught.value.faults) < 2000
    assert time.monotonic() - began < 20


def test_minus_zero_and_the_smallest_numbers_are_numbers() -> None:
    assert vxp_schemas.loads(b"[-0, -0.0, 1e-400, 9007199254740991]") == [0, 0.0, 0.0, 2**53 - 1]


@pytest.mark.parametrize("text", ["\x1b[2J\x1b[31mvalid", "a\x07b", "\u202etxt.exe", "\x9b31m", "\u2066a"])
def test_texts_that_steer_a_terminal_are_refused(text: str, broken: Broken) -> None:
    put("submission.json", title=text)(broken)
    broken.seal()
    found = validate(broken.folder)
    assert "VXP-S011" in codes(found)
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    show(console, found)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", console.file.getvalue())  # type: ignore[attr-defined]


def test_texts_in_other_scripts_are_not(broken: Broken) -> None:
    put("submission.json", title="Carte d'activation à gradients 注意力 שלום\n(second line)")(broken)
    broken.seal()
    assert "VXP-S011" not in codes(validate(broken.folder))


def test_findings_hold_plain_and_short_texts() -> None:
    found = Findings()
    found.add("VXP-S002", "\x1b]0;x\x07", "a\nb", "x" * 10_000, "\u202e")
    (finding,) = found.all
    assert finding.file == "\\x1b]0;x\\x07"
    assert finding.examples[0][0] == "a\\nb"
    assert len(finding.examples[0][1]) < 2100
    assert plain("é 注 [red]") == "é 注 [red]"


# ------------------------------------------------------------------------------------------------------ names and identity


def test_two_results_of_one_id_are_refused(broken: Broken) -> None:
    """They would share their audit on a board."""
    shutil.copytree(broken.path("result").parent, broken.path("results/second"))
    root = json.loads(broken.path("submission.json").read_bytes())
    root["results"].append(root["results"][0] | {"path": "results/second/result.json"})
    broken.path("submission.json").write_text(json.dumps(root))
    assert "VXP-S014" in codes(validate(broken.folder))


@pytest.mark.parametrize(("kind", "code"), [("task", "VXP-K001"), ("model", "VXP-K003")])
def test_a_document_of_ones_own_does_not_take_a_registered_name(kind: str, code: str, broken: Broken) -> None:
    """Its digest is right, and it lies in the bundle; but everybody who reads its name thinks of another."""
    own = dict(vxp_schemas.registry_document(f"{kind}s", "shapes" if kind == "task" else "shapes-cnn"))
    own |= {"title": "Easier shapes"} if kind == "task" else {"extensions": {"https://example.org/easier": True}}
    if kind == "model" and "extensions" not in vxp_schemas.schema("model")["properties"]:
        own = dict(vxp_schemas.registry_document("models", "shapes-cnn")) | {"extensions": {"https://example.org/x": 1}}
    path = f"{broken.result.rpartition('/')[0]}/{kind}.json"
    broken.path(path).write_text(json.dumps(own))
    reference = vxp_schemas.reference(own)
    if kind == "task":
        reference = reference | {"digest": vxp_schemas.digest([reference["digest"], 8])}
    for name in ("set", "result"):
        put(name, **{kind: reference})(broken)
    broken.json("submission.json", lambda d: d["documents"].append(
        {"mediaType": "application/json", "path": path, "size": 1, "digest": DIGEST}))
    broken.seal()
    found = validate(broken.folder)
    assert code in codes(found), found.findings
    said = next(f for f in found.findings if f["code"] == code)
    assert "the registry's" in said["expected"]


def test_data_of_ones_own_do_not_take_a_registered_name(broken: Broken) -> None:
    own = dict(vxp_schemas.registry_document("tasks", "shapes"))
    own |= {"id": "my-shapes", "dataset": own["dataset"] | {"digest": DIGEST}}
    path = f"{broken.result.rpartition('/')[0]}/task.json"
    broken.path(path).write_text(json.dumps(own))
    reference = vxp_schemas.reference(own)
    for name in ("set", "result"):
        put(name, task=reference | {"digest": vxp_schemas.digest([reference["digest"], 8])}, dataset=own["dataset"])(broken)
    broken.json("submission.json", lambda d: d["documents"].append(
        {"mediaType": "application/json", "path": path, "size": 1, "digest": DIGEST}))
    broken.seal()
    assert "VXP-K002" in codes(validate(broken.folder))


# ------------------------------------------------------------------------------------------------ files that change on disk


def test_a_file_replaced_or_written_to_between_reads_is_noticed(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "b"))
    bundle = open_bundle(folder)
    (folder / "system.json").write_bytes((folder / "system.json").read_bytes())
    with pytest.raises(VxpError, match="changed while it was read"):
        bundle.read("system.json")
    bundle = open_bundle(folder)
    shutil.copy(folder / "system.json", tmp_path / "other")
    os.replace(tmp_path / "other", folder / "system.json")
    with pytest.raises(VxpError, match="changed while it was read"):
        bundle.read("system.json")


def test_a_folder_that_becomes_a_link_is_not_followed(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "b"))
    bundle = open_bundle(folder)
    (folder / "results").rename(tmp_path / "elsewhere")
    (folder / "results").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VxpError, match="cannot be read"):
        bundle.read(next(p for p in bundle.paths if p.endswith("result.json")))


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_file_that_becomes_something_else_is_not_opened(kind: str, whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "b"))
    bundle = open_bundle(folder)
    (folder / "system.json").unlink()
    {"link": lambda p: p.symlink_to("/etc/passwd"), "pipe": os.mkfifo, "folder": Path.mkdir}[kind](folder / "system.json")
    with pytest.raises(VxpError, match=r"cannot be read|changed while it was read"):
        bundle.read("system.json")


def test_a_bundle_that_changes_under_the_validator_is_no_verdict(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "b"))
    from vxp.validation import integrity

    honest = integrity.check

    def late(*arguments: Any) -> None:
        (folder / "system.json").write_bytes((folder / "system.json").read_bytes())
        honest(*arguments)

    monkeypatch.setattr(integrity, "check", late)
    found = validate(folder)
    assert (found.verdict, found.exit_code) == ("could-not-complete", 3)


def test_a_link_to_a_tar_is_read_like_the_tar(whole: Path, tmp_path: Path) -> None:
    tar = tmp_path / "b.tar"
    bundles.write_tar(tar, {p.relative_to(whole).as_posix(): p for p in whole.rglob("*") if p.is_file()})
    (tmp_path / "link.tar").symlink_to(tar)
    assert validate(tmp_path / "link.tar").evidence == "E1"


# ------------------------------------------------------------------------------------------------------------------- tar


def member(name: str, data: bytes = b"", kind: bytes = b"0", **fields: bytes) -> bytes:
    """A tar entry with a right sum, whatever its fields say."""
    parts = {"mode": b"0000755" if kind == b"5" else b"0000644", "uid": b"0000000", "gid": b"0000000",
             "size": f"{len(data):011o}".encode(), "mtime": b"00000000000", "link": b""} | fields
    block = (name.encode().ljust(100, b"\0") + parts["mode"].ljust(8, b"\0") + parts["uid"].ljust(8, b"\0")
             + parts["gid"].ljust(8, b"\0") + parts["size"].ljust(12, b"\0") + parts["mtime"].ljust(12, b"\0") + b" " * 8
             + kind + parts["link"].ljust(100, b"\0") + b"ustar\x0000" + bytes(247))
    block = block[:148] + f"{sum(block):06o}\0 ".encode() + block[156:512]
    return block + data + bytes(-len(data) % 512)


END = bytes(1024)
TARS: dict[str, tuple[bytes, str]] = {
    "a sparse file": (member("a", b"x", b"S"), "VXP-S004"),
    "a long name of GNU": (member("././@LongLink", b"../../evil\0", b"L"), "VXP-S004"),
    "a long link of GNU": (member("././@LongLink", b"../../evil\0", b"K"), "VXP-S004"),
    "extended fields": (member("a", b"25 path=../../etc/passwd\n", b"x"), "VXP-S004"),
    "extended fields for all": (member("a", b"25 path=../../etc/passwd\n", b"g"), "VXP-S004"),
    "a hard link": (member("a", kind=b"1", link=b"/etc/passwd"), "VXP-S004"),
    "a link": (member("a", kind=b"2", link=b"/etc/passwd"), "VXP-S004"),
    "a device": (member("a", kind=b"3"), "VXP-S004"),
    "a folder outside": (member("../evil/", kind=b"5"), "VXP-S004"),
    "a folder from the root": (member("/evil/", kind=b"5"), "VXP-S004"),
    "a folder of another system": (member("con/", kind=b"5"), "VXP-S004"),
    "a folder with bytes": (member("a/", b"x", b"5"), "VXP-S004"),
    "a folder where a file is": (member("a", b"x") + member("a/", kind=b"5"), "VXP-S004"),
    "a file where a folder must be": (member("a", b"x") + member("a/b", b"x"), "VXP-S003"),
    "folders equal but for case": (member("A/x", b"x") + member("a/y", b"x"), "VXP-S003"),
    "a name twice": (member("a", b"x") + member("a", b"y"), "VXP-S005"),
    "another order": (member("b", b"x") + member("a", b"y"), "VXP-S005"),
    "more bytes than there are": (member("a", b"x", size=b"77777777777"), "VXP-S005"),
    "a size in another base": (member("a", b"x", size=b"\x80\0\0\0\0\0\0\0\0\0\1\0"), "VXP-S005"),
    "a negative size": (member("a", b"x", size=b"-0000000001"), "VXP-S005"),
    "bytes that nobody lists": (member("a", b"x") + END + b"hidden".ljust(512, b"\0"), "VXP-S005"),
}


@pytest.mark.parametrize("name", TARS)
def test_hostile_tars_are_refused(name: str, tmp_path: Path) -> None:
    data, code = TARS[name]
    path = tmp_path / "b.tar"
    path.write_bytes(data + END)
    found = validate(path)
    assert code in codes(found), found.findings
    assert found.verdict == "invalid"


def test_zeros_without_end_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    path.write_bytes(member("submission.json", b"{}") + END)
    with path.open("r+b") as file:
        file.truncate(2**40)
    began = time.monotonic()
    assert "VXP-S005" in codes(validate(path))
    assert time.monotonic() - began < 20


# -------------------------------------------------------------------------------------------------- what is made of bundles


def entry_of(text: str) -> dict[str, str]:
    """The fields of one BibTeX entry, read as BibTeX does: a brace counts, whatever stands before it."""
    body = re.fullmatch(r"@misc\{([A-Za-z0-9-]+),\n(.*)\n\}\n", text, re.DOTALL)
    assert body, text
    rest, found = body[2], {}
    while rest.strip():
        head = re.match(r"\s*([a-z]+)\s*=\s*\{", rest)
        assert head, rest
        depth, at = 1, head.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(rest[at], 0)
            at += 1
        found[head[1]] = rest[head.end(): at - 1]
        assert rest[at] == ","
        rest = rest[at + 1:]
    return found


@pytest.mark.parametrize("title", ["x}, year = 1066 ", "}}@misc{evil, title = {y", "{{{", "}}}", "\\", "a\\}", "%",
                                   "50 % & #1_a^2~$x$", "two\nlines", '"', "@string{x = 1}"])
def test_a_title_stays_in_its_field_of_a_citation(title: str, whole: Path) -> None:
    submission = json.loads((whole / "submission.json").read_bytes())
    submission |= {"title": title, "license": title, "authors": [title, "B"]}
    found = entry_of(cite.of_submission(submission, DIGEST, []))
    assert list(found) == ["author", "title", "year", "howpublished", "note"]
    assert found["year"] == submission["created"][:4]
    assert DIGEST in found["note"]


def test_a_name_with_and_is_one_author(whole: Path) -> None:
    submission = json.loads((whole / "submission.json").read_bytes()) | {"authors": ["Smith and Sons", "A. Author"]}
    assert entry_of(cite.of_submission(submission, DIGEST, []))["author"] == "{Smith and Sons} and A. Author"


@pytest.mark.usefixtures("in_this_process")
def test_an_invalid_bundle_is_not_compared(whole: Path, broken: Broken) -> None:
    new = "deletion@1|steps:4|fill:[/x]"
    broken.json("result", lambda d: next(s for s in d["scores"] if s["signature"] == DELETION).update(signature=new))
    broken.table("samples", lambda t: t.update({new: t.pop(DELETION), f"{new}#status": t.pop(f"{DELETION}#status")}))
    broken.seal()
    with pytest.raises(VxpError, match="is invalid, so that its numbers mean nothing"):
        compare.compare([whole, broken.folder])


def test_signatures_are_shown_as_they_are() -> None:
    name = "a@1|x:[/bold][link=https://evil.example]y"
    score = compare.Score(name, "sample", "higher", {"m": 1.0}, (), {"m": (1, 1)}, ("m",), ())
    console = Console(file=io.StringIO(), width=200)
    console.print(compare._table(score, (), stats.STANDARD))
    assert "[/bold][link=https://evil.example]y" in console.file.getvalue()  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------------- maps from outside


def npy(shape: tuple[int, ...], descr: str = "<f8", data: bytes = b"") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header = header.ljust(-(-(len(header) + 11) // 64) * 64 - 11) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(("name", "data"), [
    ("m.npy", npy((2**40,))), ("m.npy", npy((2**31, 2**31, 2**31))), ("m.npy", npy((-1, 4, 4), data=bytes(128))),
    ("m.npy", npy((2, 4, 4), data=bytes(255))), ("m.npy", saved(values=np.zeros((2, 4, 4)))), ("m.npy", b"\x93NUMPY\x09\x00"),
    ("m.npy", pickle.dumps(Canary())), ("m.npy", npy((1,), "|O", pickle.dumps(Canary()))), ("m.npy", b""),
    ("m.safetensors", HEADERS["overlapping"]), ("m.safetensors", HEADERS["a header as long as every file"]),
    ("m.safetensors", b"x"),
], ids=lambda value: value if isinstance(value, str) else "data")  # the canary holds the process's number
def test_maps_that_claim_more_than_they_hold_are_refused(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(VxpError, match=re.escape(name)):
        map_files.read_maps(tmp_path / name, ["a", "b"])
    assert not CANARY.exists()


def test_an_image_that_unfolds_is_refused(tmp_path: Path) -> None:
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    folder = tmp_path / "maps"
    folder.mkdir()
    (folder / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0))
                                   + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    with pytest.raises(VxpError, match="cannot be read"):
        map_files.read_maps(folder, ["a"])
    (folder / "0.png").write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(VxpError, match="cannot be read"):
        map_files.read_maps(folder, ["a"])
