"""The validator: every rule with a bundle that breaks it, made from a valid one; verdicts, exit codes, formats, limits."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import shutil
import struct
import sys
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vxp_schemas
from bundle_tools import Broken, made_run, sealed
from vxp import bundles, documents
from vxp.bundles import sealing
from vxp.core import VxpError
from vxp.documents.findings import rules
from vxp.runs import result
from vxp.validation import apart, fixes, report, validate
from vxp.validation.report import CODES, Report

if TYPE_CHECKING:
    from conftest import Vxp

ELSEWHERE = {
    **{f"VXP-{code}": "test_signing.py" for code in ("I008", "I009", "I010")},
    **{f"VXP-{code}": "test_leaderboard.py" for code in ("I007", "F011", "F012", "F030", "K030")},
    **{f"VXP-{code}": "test_temporal.py" for code in ("C026", "C027", "C028")},
    "VXP-C029": "test_objects.py", **{f"VXP-{code}": "test_words.py" for code in ("C030", "C031")},
    **{f"VXP-{code}": "test_red_team.py" for code in ("I012", "F018", "F019")},
    **{f"VXP-{code}": "test_audit.py" for code in (
        "I011", "R001", "R002", "R003", "R005", "R006", "R007", "R008", "F004", "F008", "F016")},
}
"""Rules that are checked by other commands, and where their bundles are."""


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return sealed(made_run(folder / "run"), folder / "bundle")


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Broken:
    return Broken(whole, tmp_path / "broken")


def codes(found: Report, *severities: str) -> set[str]:
    return {f["code"] for f in found.findings if not severities or f["severity"] in severities}


def test_a_sealed_run_has_no_errors(whole: Path) -> None:
    found = validate(whole)
    assert not codes(found, "error", "warning"), found.findings
    assert found.verdict == "no-errors-found (partial)"
    assert found.exit_code == 0
    assert found.evidence == "E1"
    assert [c["check"] for c in found.checks if not c["ran"]] == ["recompute"]
    assert found.root_digest == vxp_schemas.file_digest(whole / "submission.json")


# ------------------------------------------------------------------------------------------------- a bundle for every rule

Break = Callable[[Broken], object]
FAILING: dict[str, list[tuple[str, Break]]] = {}
"""Per code: what is wrong in words, and how to make it so. Unless it returns False, the bundle is sealed again."""


def breaks(code: str, words: str) -> Callable[[Break], Break]:
    def kept(change: Break) -> Break:
        FAILING.setdefault(code, []).append((words, change))
        return change
    return kept


def case(code: str, words: str, change: Break) -> None:
    FAILING.setdefault(code, []).append((words, change))


def edit(name: str, **values: Any) -> Break:
    """Set fields of a document by dotted path with `__`: n_items__present=3."""
    def change(broken: Broken) -> None:
        def within(document: Any) -> None:
            for path, value in values.items():
                *parents, last = path.split("__")
                place = document
                for part in parents:
                    place = place[int(part) if part.isdigit() else part]
                place[int(last) if last.isdigit() else last] = value
        broken.json(name, within)
    return change


def cell(name: str, column: str, row: int, value: Any) -> Break:
    return lambda b: b.table(name, lambda t: t[column].__setitem__(row, value))


def stay(change: Break) -> Break:
    """Without sealing again."""
    def changed(broken: Broken) -> bool:
        change(broken)
        return False
    return changed


DIGEST = "sha256:" + "0" * 64
DELETION = "deletion@1|steps:4|fill:mean"

case("VXP-S001", "no root", stay(lambda b: b.path("submission.json").unlink()))
case("VXP-S002", "a backslash", stay(lambda b: b.path("..\\x").write_text("x")))
case("VXP-S002", "a space", stay(lambda b: b.path("a file").write_text("x")))
case("VXP-S002", "a name that is no text", stay(lambda b: open(os.fsencode(b.folder) + b"/\xff", "wb").close()))
case("VXP-S002", "a line feed", stay(lambda b: b.path("a\n").write_text("x")))
case("VXP-S003", "a device of another system", stay(lambda b: b.path("con.json").write_text("x")))
case("VXP-S003", "a point at the end", stay(lambda b: b.path("name.").write_text("x")))
case("VXP-S003", "upper and lower case", stay(lambda b: b.path("System.json").write_text("x")))
case("VXP-S004", "a link to a file", stay(lambda b: b.path("link").symlink_to("/etc/hostname")))
case("VXP-S004", "a link to a folder", stay(lambda b: b.path("link").symlink_to("/etc")))
case("VXP-S004", "a pipe", stay(lambda b: os.mkfifo(b.path("pipe"))))
case("VXP-S004", "a hard link", stay(lambda b: os.link(b.path("system.json"), b.path("twice.json"))))


@breaks("VXP-S004", "a listed file that is a link")
def _(b: Broken) -> bool:
    b.path("system.json").rename(b.folder.parent / "system.json")
    b.path("system.json").symlink_to(b.folder.parent / "system.json")
    return False


case("VXP-S006", "a document of 17 MiB", lambda b: b.bytes("system.json", lambda d: d + b" " * (17 << 20)))


@breaks("VXP-S007", "documentation that is an archive")
def _(b: Broken) -> None:
    b.path("documentation").mkdir()
    b.path("documentation/METHOD.md").write_bytes(b"PK\x03\x04\x00\xff")
    b.json("submission.json", lambda d: d["documentation"].append(
        {"mediaType": "text/markdown", "path": "documentation/METHOD.md", "size": 6, "digest": DIGEST}))


case("VXP-S007", "maps as a pickle", edit("set", shards__0__descriptor__mediaType="application/octet-stream"))
case("VXP-S010", "a repeated key", lambda b: b.bytes("system.json", lambda d: d.replace(b"{", b'{"extensions": {},', 1)))
case("VXP-S010", "a byte-order mark", lambda b: b.bytes("system.json", lambda d: b"\xef\xbb\xbf" + d))
case("VXP-S010", "NaN", stay(lambda b: b.bytes("result", lambda d: re.sub(rb'"mean": [0-9.]+', b'"mean": NaN', d, count=1))))
case("VXP-S010", "a number beyond a double",
     stay(lambda b: b.bytes("result", lambda d: re.sub(rb'"mean": [0-9.]+', b'"mean": 1e400', d, count=1))))
case("VXP-S010", "deep nesting", lambda b: b.bytes("system.json", lambda d: b"[" * 100_000))
case("VXP-S010", "UTF-16", lambda b: b.bytes("system.json", lambda d: d.decode().encode("utf-16")))
case("VXP-S011", "a misspelt field", lambda b: b.json("set", lambda d: d.update(n_itmes=d.pop("n_items"))) or False)
case("VXP-S011", "an id with a line feed at its end", edit("submission.json", submission_id="name\n"))
case("VXP-S011", "a digest of another kind", edit("set", system="md5:" + "0" * 32))
case("VXP-S011", "a path out of the bundle", stay(edit("submission.json", system__path="../system.json")))
case("VXP-S011", "a schema from elsewhere",
     stay(lambda b: b.json("submission.json", lambda d: d.update({"$schema": "https://evil.example/s.json"}))))
case("VXP-S011", "a signature twice", lambda b: b.json("result", lambda d: d["scores"].append(d["scores"][0])))
case("VXP-S011", "a commit that is a branch", edit("system.json", implementation__commit="main"))
case("VXP-S012", "an environment as the system", lambda b: b.bytes("system.json", lambda d: b.path("environment").read_bytes()))
case("VXP-S013", "a newer minor version", edit("system.json", spec_version="1.1.0"))
case("VXP-S013", "another major version", edit("system.json", type="https://vxp.example/system/v2"))


case("VXP-S014", "ids that are not the folders'", lambda b: (edit("set", set_id="other")(b),
                                                             edit("result", result_id="other")(b)))


def header(change: Callable[[dict[str, Any]], object], tail: bytes = b"", *, spaces: int = 0, between: str = ":") -> Break:
    """Change the header of the shard, leaving its data; as the standard writes headers, but for `spaces` and `between`."""
    def within(data: bytes) -> bytes:
        (n,) = struct.unpack("<Q", data[:8])
        document = json.loads(data[8 : 8 + n])
        change(document)
        text = json.dumps(document, separators=(",", between)).encode()
        text += b" " * (-len(text) % 8 + spaces)
        return struct.pack("<Q", len(text)) + text + data[8 + n :] + tail
    return lambda b: b.bytes("shard", within)


case("VXP-S020", "a header longer than the file", lambda b: b.bytes("shard", lambda d: struct.pack("<Q", 2**62) + d[8:]))
case("VXP-S020", "900 kB of metadata", header(lambda h: h.update(__metadata__={"note": "x" * 900_000})))
case("VXP-S020", "100 kB of spaces behind the header", header(lambda h: None, spaces=100_000))
case("VXP-S020", "eight spaces more than it needs", header(lambda h: None, spaces=8))
case("VXP-S020", "white space within the header", header(lambda h: None, between=": "))
case("VXP-S020", "a shape of 8 TB", header(lambda h: h["values"].update(shape=[2**20, 2**10, 2**11])))
case("VXP-S020", "a shape beyond 64 bits", header(lambda h: h["values"].update(shape=[2**52, 2**52, 2**52])))
case("VXP-S020", "a hole at the end", header(lambda h: None, b"\0" * 64))
case("VXP-S020", "a negative offset", header(lambda h: h["values"].update(data_offsets=[-4, 0])))
case("VXP-S020", "a dtype that nobody knows", header(lambda h: h["values"].update(dtype="OBJECT")))
case("VXP-S020", "a numpy archive under the name", lambda b: b.bytes("shard", lambda d: b"PK\x03\x04" + d))
case("VXP-S020", "cut off", lambda b: b.bytes("shard", lambda d: d[:-100]))
case("VXP-S020", "seven bytes", lambda b: b.bytes("shard", lambda d: d[:7]))
case("VXP-S021", "a pickle as a table", lambda b: b.bytes("samples", lambda d: b"\x80\x04K\x01."))
case("VXP-S021", "a damaged footer", lambda b: b.bytes("samples", lambda d: d[:-40] + b"\xff" * 32 + d[-8:]))
case("VXP-S021", "a column of another type",
     lambda b: b.table("items", lambda t: None, {"target": pa.int64()}))
case("VXP-S021", "a column too many", lambda b: b.table("items", lambda t: t.update(note=["x"] * len(t["row"]))))
case("VXP-S021", "a column missing", lambda b: b.table("samples", lambda t: t.pop(f"{DELETION}#status")))
case("VXP-S021", "fewer rows than described", lambda b: b.table("samples", lambda t: [v.pop() for v in t.values()]))
case("VXP-S022", "texts that unfold to gigabytes", cell("items", "cluster", 0, "x" * (80 << 20)))

case("VXP-I001", "a listed file is gone", stay(lambda b: b.path("environment").unlink()))
case("VXP-I002", "a file is longer", stay(lambda b: b.bytes("samples", lambda d: d + b"\n")))
case("VXP-I003", "a byte of a table is changed",
     stay(lambda b: b.bytes("samples", lambda d: d[:60] + bytes([d[60] ^ 1]) + d[61:])))
case("VXP-I003", "a byte of the maps is changed", stay(lambda b: b.bytes("shard", lambda d: d[:-1] + bytes([d[-1] ^ 1]))))
case("VXP-I004", "a file that nothing lists", stay(lambda b: b.path("notes.txt").write_text("x")))
case("VXP-I006", "one file in two roles",
     lambda b: b.json("submission.json", lambda d: d["documents"].append(d["system"])))


@breaks("VXP-I005", "two maps swapped")
def _(b: Broken) -> bool:
    b.tensors("shard", lambda t: t["values"].__setitem__([0, 1], t["values"][[1, 0]]))
    b.seal(rows=False)
    return False


case("VXP-C001", "transposed shape in the manifest", edit("set", shards__0__tensors__values__shape=[24, 32, 128]))
case("VXP-C001", "integers", lambda b: (b.tensors("shard", lambda t: t.update(values=t["values"].astype(np.int32))),
                                        edit("set", shards__0__tensors__values__dtype="I32")(b)))
case("VXP-C001", "a second tensor", lambda b: (
    b.tensors("shard", lambda t: t.update(more=np.zeros(1, np.float32))),
    b.json("set", lambda d: d["shards"][0]["tensors"].update(more={"dtype": "F32", "shape": [1]}))))
case("VXP-C002", "NaN in a map", lambda b: b.tensors("shard", lambda t: t["values"].__setitem__((3, 0, 0), np.nan)))
case("VXP-C002", "infinity in a map", lambda b: b.tensors("shard", lambda t: t["values"].__setitem__((3, 0, 0), np.inf)))
case("VXP-C003", "rows counted from 1", edit("set", shards__0__first_row=1))
case("VXP-C004", "an empty cell", cell("items", "runtime_ms", 2, None))
case("VXP-C004", "an empty status", cell("samples", f"{DELETION}#status", 2, None))
case("VXP-C005", "rows in another order", lambda b: b.table("items", lambda t: t["row"].reverse()))


@breaks("VXP-C006", "an item twice")
def _(b: Broken) -> None:
    b.table("items", lambda t: t["item_id"].__setitem__(1, t["item_id"][0]))


@breaks("VXP-C007", "the order rolled by one")
def _(b: Broken) -> None:
    def roll(t: dict[str, list[Any]]) -> None:
        for name in ("item_id", "explanation_id"):
            t[name] = t[name][1:] + t[name][:1]
    b.table("items", roll)
    b.table("samples", roll)


case("VXP-C007", "an item of another data set", lambda b: b.table("items", lambda t: t["item_id"].__setitem__(0, "train/0")))
case("VXP-C008", "other clusters", lambda b: b.table("items", lambda t: t.update(cluster=[f"c{i % 3}" for i in t["row"]])))
case("VXP-C009", "another target", lambda b: b.table("items", lambda t: t["target"].__setitem__(0, (t["target"][0] + 1) % 8)))
case("VXP-C010", "rows that share a map", cell("items", "shard_row", 3, 2))
case("VXP-C011", "a status of one's own", cell("items", "status", 3, "failed:bad-luck"))
case("VXP-C011", "a score's status of one's own", cell("samples", f"{DELETION}#status", 3, "fine"))
case("VXP-C012", "a failed row with a map", cell("items", "status", 3, "failed:explainer-error"))
case("VXP-C016", "every item failed", lambda b: (
    b.tensors("shard", lambda t: t["values"].__imul__(0)),
    b.table("items", lambda t: t.update(status=["failed:explainer-error"] * len(t["status"])))))
case("VXP-C013", "a probability above 1", cell("items", "target_score", 3, 1.5))
case("VXP-C013", "a negative time", cell("items", "runtime_ms", 3, -1.0))
case("VXP-C013", "a class that the model does not have", cell("items", "prediction", 3, 1000))
case("VXP-C013", "a second explanation", cell("items", "repeat", 3, 1))
case("VXP-C014", "a subset that claims to be whole", edit("set", n_items__present=200))
case("VXP-C015", "a small grid without resampling", lambda b: (
    b.tensors("shard", lambda t: t.update(values=t["values"][:, ::2, ::2].copy())),
    edit("set", shards__0__tensors__values__shape=[24, 32, 32], explainer__resample="none")(b),
    edit("result", explainer__resample="none")(b)))
case("VXP-C001", "maps of images that say to be of clips", edit("set", kind="heatmap3d"))
case("VXP-C015", "a rule of another kind", lambda b: (
    edit("set", explainer__resample="trilinear")(b), edit("result", explainer__resample="trilinear")(b)))
case("VXP-C025", "maps of clips for a task of images", lambda b: (
    b.tensors("shard", lambda t: t.update(values=t["values"][:, None].copy())),
    edit("set", kind="heatmap3d", shards__0__tensors__values__shape=[24, 1, 64, 64])(b)))
case("VXP-C020", "scores of another order", lambda b: b.table("samples", lambda t: t["item_id"].reverse()))
case("VXP-C021", "a number without ok", cell("samples", f"{DELETION}#status", 3, "undefined:constant-map"))
case("VXP-C021", "ok without a number", cell("samples", DELETION, 3, None))
case("VXP-C022", "a share above 1", cell("samples", DELETION, 3, 1.25))
case("VXP-C023", "curves of fewer items",
     lambda b: b.tensors("curves", lambda t: t.update({DELETION: t[DELETION][:-1].copy()})))
case("VXP-C023", "statistics of another shape", lambda b: b.tensors("statistics", lambda t: t.update(
    {k: v[:, :1].copy() for k, v in t.items()})))

case("VXP-C023", "statistics of references of fewer items", lambda b: b.tensors("reference_statistics", lambda t: t.update(
    {k: v[:-1].copy() for k, v in t.items()})))
case("VXP-C023", "no statistics of a reference", lambda b: b.tensors("reference_statistics", lambda t: t.pop(
    "random/max-box-acc-v2@1|thresholds:20")))
case("VXP-C004", "an empty status of a reference", cell("references", "status", 2, None))
case("VXP-C011", "a reference's status of one's own", cell("references", "status", 2, "fine"))
case("VXP-C021", "a reference's number without ok", cell("references", "status", 2, "not-run:reference"))
case("VXP-C022", "a reference's score outside its range", cell("references", "value", 2, -1.0))
case("VXP-C024", "references in another order of items", lambda b: b.table("references", lambda t: t["item_id"].reverse()))
case("VXP-C024", "clusters of one's own for references", lambda b: b.table("references", lambda t: t.update(
    cluster=["c"] * len(t["cluster"]))))
case("VXP-C024", "the scores of two references exchanged", lambda b: b.table("references", lambda t: t.update(
    explainer=t["explainer"][::-1])))
case("VXP-C024", "rows of a reference missing", lambda b: (
    b.table("references", lambda t: t.update({k: v[:-24] for k, v in t.items()})),
    b.json("result", lambda d: d["reference_samples"].update(rows=d["reference_samples"]["rows"] - 24))))
case("VXP-S014", "the references' scores in another place", lambda b: (
    b.path("references").rename(b.path("references").with_name("beside.parquet")),
    b.json("result", lambda d: d["reference_samples"].update(path=b.references.replace("references", "beside")))))
case("VXP-S021", "a table of references with a column missing", lambda b: b.table("references", lambda t: t.pop("cluster")))
case("VXP-I001", "the references' scores are gone", stay(lambda b: b.path("references").unlink()))
case("VXP-I004", "references' scores that nothing lists",
     lambda b: b.json("result", lambda d: d.pop("reference_samples")) and None)

case("VXP-K001", "another list of items under the name", lambda b: (edit("set", task__digest=DIGEST)(b),
                                                                    edit("result", task__digest=DIGEST)(b)))
case("VXP-K002", "another revision of the data", lambda b: (edit("set", dataset__digest=DIGEST)(b),
                                                            edit("result", dataset__digest=DIGEST)(b)))
case("VXP-K003", "other weights under the name", lambda b: (edit("set", model__digest=DIGEST)(b),
                                                            edit("result", model__digest=DIGEST)(b)))
case("VXP-K004", "another system document", edit("system.json", implementation__version="9.9"))
case("VXP-K005", "another definition of a metric", edit("result", scores__0__metric__digest=DIGEST))


@breaks("VXP-K006", "a parameter that the metric does not have")
def _(b: Broken) -> None:
    new = "deletion@1|steps:4|fill:mean|blur:3"
    b.json("result", lambda d: next(s for s in d["scores"] if s["signature"] == DELETION).update(signature=new))
    b.table("samples", lambda t: t.update({new: t.pop(DELETION), f"{new}#status": t.pop(f"{DELETION}#status")}))
    b.tensors("curves", lambda t: t.update({new: t.pop(DELETION), f"{new}#x": t.pop(f"{DELETION}#x")}))


case("VXP-K007", "a result of another model", edit("result", model__version=2))
case("VXP-K008", "a result of another explainer", edit("result", explainer__id="my-method"))
case("VXP-K009", "counts that are not there", edit("result", scores__0__n=200))
case("VXP-K010", "a better mean",
     lambda b: b.json("result", lambda d: d["scores"][0].update(mean=d["scores"][0]["mean"] - 0.01)))
case("VXP-K010", "a smaller deviation", lambda b: b.json("result", lambda d: d["scores"][0].update(sd=0.0)))
case("VXP-K011", "a narrower interval", lambda b: b.json("result", lambda d: d["scores"][0]["ci"].update(
    lo=d["scores"][0]["mean"] - 1e-3)))
case("VXP-K009", "counts of a reference that are not there", edit("result", references__0__scores__0__statuses={"ok": 23}))
case("VXP-K010", "a worse mean of a reference",
     lambda b: b.json("result", lambda d: d["references"][0]["scores"][0].update(mean=9.0)))
case("VXP-K010", "worse scores of a reference under its old mean", lambda b: b.table("references", lambda t: t.update(
    value=[v if v is None else v / 2 for v in t["value"]])))
case("VXP-K010", "a worse number of the set of a reference",
     lambda b: b.json("result", lambda d: d["references"][0]["scores"][4].update(mean=0.0)))
case("VXP-K011", "a wider interval of a reference",
     lambda b: b.json("result", lambda d: d["references"][1]["scores"][0]["ci"].update(lo=0.0)))
case("VXP-K018", "references without scores per item", lambda b: (
    b.path("references").unlink(), b.json("result", lambda d: d.pop("reference_samples"))))
case("VXP-K018", "a score that a reference does not have",
     lambda b: b.json("result", lambda d: d["references"][0]["scores"].pop()))
case("VXP-K019", "a tie of references that is none", edit("result", scores__0__flags=[result.TIE]))
case("VXP-K011", "an interval of a set's number", lambda b: b.json("result", lambda d: d["scores"][4]["ci"].update(hi=1.0)))
case("VXP-K012", "part of a task in the closed division", lambda b: (edit("result", division="closed")(b),
                                                                     edit("submission.json", division="closed")(b)))
case("VXP-K012", "a closed submission of open results", edit("submission.json", division="closed"))
case("VXP-K012", "a method by the name of a reference", lambda b: (
    [edit(name, explainer__id="oracle")(b) for name in ("set", "result")], edit("system.json", method__name="oracle")(b),
    _rebind(b)))
case("VXP-K014", "the other direction", lambda b: b.json("result", lambda d: next(
    s for s in d["scores"] if s["signature"] == DELETION).update(better="higher")))
case("VXP-K015", "another seed", edit("result", settings__seed=7))
case("VXP-K015", "another level than the task's", edit("result", inference__level=0.9))
case("VXP-K016", "fewer passes than counted", edit("result", cost__explain__forward_rows=1))
case("VXP-K018", "references under other signatures",
     lambda b: b.json("result", lambda d: d["references"][0]["scores"][0].update(signature="entropy@2")))
case("VXP-K018", "a reference twice", lambda b: b.json("result", lambda d: d["references"].append(d["references"][0])))
case("VXP-K019", "a limit that is not said", edit("result", flags=[]))
case("VXP-K015", "more clusters than its items have", edit("result", selection__clusters=200))
case("VXP-K015", "fewer items than the task has", edit("result", selection__of_items=30))
case("VXP-K015", "a limit that does not say what it took", lambda b: b.json("result", lambda d: d.pop("selection")))
case("VXP-K020", "code that nothing identifies", lambda b: (
    b.json("system.json", lambda d: d.update(implementation={"entry_point": "secret:method"})), _rebind(b)))
case("VXP-K021", "a task that nobody has",
     lambda b: (edit("set", task__id="my-task")(b), edit("result", task__id="my-task")(b)))


for said in ("TODO", "N/A", "tbd.", "-", "  .  ", "None", "\u3000", "Lorem ipsum dolor sit amet"):
    case("VXP-K023", f"tuning {said!a}", edit("submission.json", statement_of_tuning=said))
case("VXP-K023", "conflicts to do", edit("submission.json", conflicts_of_interest="todo"))
case("VXP-K023", "an author to do", edit("submission.json", authors=["A. Author", "TBD"]))
case("VXP-K023", "a contact of nobody", edit("submission.json", submitter__contact="n/a"))
case("VXP-K024", "a Cyrillic letter", edit("submission.json", submitter__name="A L\u0430b"))
case("VXP-K024", "a letter of no width", edit("submission.json", submitter__name="A Lab\u200b"))
case("VXP-K024", "a soft hyphen", edit("submission.json", authors=["A. Au\u00adthor"]))
case("VXP-K024", "a Greek letter", edit("submission.json", authors=["\u0391uthor"]))
case("VXP-K025", "the year 2099", edit("submission.json", created="2099-01-01T00:00:00Z"))
case("VXP-K025", "before the standard", edit("result", created="2019-01-01T00:00:00Z"))
case("VXP-K025", "no day of the calendar", edit("result", created="2026-02-31T23:59:59Z"))
case("VXP-K025", "a second too many", edit("result", created="2026-02-21T23:59:60Z"))
case("VXP-K025", "a set made after its result", edit(
    "set", created=(datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")))
case("VXP-K026", "source code of zeros", lambda b: (b.json("system.json", lambda d: d["implementation"].update(
    source_digest="sha256:" + "0" * 64)), _rebind(b)))
case("VXP-K026", "the container of an empty file", lambda b: (b.json("system.json", lambda d: d["implementation"].update(
    container_digest=f"sha256:{hashlib.sha256(b'').hexdigest()}")), _rebind(b)))
case("VXP-K026", "a commit of zeros", lambda b: (b.json("system.json", lambda d: d["implementation"].update(
    commit="0" * 40)), _rebind(b)))


def left_out(signature: str, why: str) -> Break:
    """A score that is said not to have run."""
    def change(b: Broken) -> None:
        b.table("samples", lambda t: t.update({signature: [None] * 24, f"{signature}#status": [f"not-run:{why}"] * 24}))
        b.json("result", lambda d: next(s for s in d["scores"] if s["signature"] == signature).update(
            statuses={f"not-run:{why}": 24}))
    return change


case("VXP-K027", "no truth, where the task has it", left_out("pointing-game@1|tolerance:15.0", "no-truth"))
case("VXP-K027", "no budget for a score that needs none", left_out(DELETION, "budget"))
case("VXP-K027", "no explainer for a score that needs none", left_out(DELETION, "no-explainer"))
case("VXP-K027", "a reference, which it is not", left_out(DELETION, "reference"))
case("VXP-K027", "another kind of explanation, which it is not", left_out(DELETION, "kind"))


case("VXP-K028", "a version in words", edit("result", harness__version="the newest"))
case("VXP-K031", "a question without looks", edit("result", settings__until="separated"))
case("VXP-F017", "a version that nobody has released", edit("result", harness__version="9.9.9"))


def _rebind(b: Broken) -> None:
    system = json.loads(b.path("system.json").read_bytes())
    edit("set", system=result.identity(system))(b)


@breaks("VXP-K013", "a template as the model")
def _(b: Broken) -> None:
    reference = vxp_schemas.reference(vxp_schemas.registry_document("models", "torchvision-resnet50"))
    edit("set", model=reference)(b)
    edit("result", model=reference)(b)


@breaks("VXP-K017", "a set without a result")
@breaks("VXP-K022", "two sets of one task")
def _(b: Broken) -> None:
    def second(document: dict[str, Any]) -> None:
        document["sets"].append({**document["sets"][0], "path": "explanations/second/set.json"})
    shutil.copytree(b.path("set").parent, b.path("explanations/second"))
    b.json("submission.json", second)


# flags


def blob(side: int, sigma: float, place: tuple[float, float] = (0, 0)) -> np.ndarray:
    """A bell of height 1 around the centre moved by `place`; sigma in sides."""
    one = [np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2 - p) / (sigma * side)) ** 2) for p in place]
    return np.outer(*one)


def blobs(noise: float, moved: int) -> Break:
    """One blob for all items, with noise of a share of its height, moved by up to so many pixels."""
    rng = np.random.default_rng(0)

    def change(t: dict[str, np.ndarray]) -> None:
        t["values"][:] = [blob(64, 0.1, tuple(rng.integers(-moved, moved + 1, 2))) + noise * rng.standard_normal((64, 64))
                          for _ in t["values"]]
    return lambda b: b.tensors("shard", change)


case("VXP-F001", "a constant map", lambda b: b.tensors("shard", lambda t: t["values"].__setitem__(3, 0.5)))
case("VXP-F002", "one map for all",
     lambda b: b.tensors("shard", lambda t: t["values"].__setitem__(slice(None), t["values"][0])))
case("VXP-F003", "the centre-Gaussian", lambda b: b.tensors("shard", lambda t: t["values"].__setitem__(
    slice(None), np.exp(-0.5 * np.add.outer(*[((np.arange(64) - 31.5) / 16) ** 2] * 2)))))
case("VXP-F003", "the centre-Gaussian to the power 5", lambda b: b.tensors("shard", lambda t: t["values"].__setitem__(
    slice(None), blob(64, sigma=0.25 / 5**0.5))))
case("VXP-F003", "noise", lambda b: b.tensors("shard", lambda t: t["values"].__setitem__(
    slice(None), np.random.default_rng(0).random(t["values"].shape))))
case("VXP-F005", "maps of eight levels", lambda b: b.tensors("shard", lambda t: t.update(values=np.floor(
    8 * t["values"] / t["values"].max()).astype(np.float32))))
case("VXP-F006", "fewer passes than the method needs", lambda b: (
    b.json("system.json", lambda d: d["method"]["needs"].update(passes_per_map=500)), _rebind(b)))


@breaks("VXP-F006", "a method that costs nothing and says so")
def _(b: Broken) -> None:
    b.json("system.json", lambda d: d["method"]["needs"].update(passes_per_map=0))
    b.table("items", lambda t: t.update({k: [0] * 24 for k in ("n_forwards", "n_backwards", "runtime_ms")}))
    b.json("result", lambda d: d["cost"]["explain"].update(forward_rows=0, backward_rows=0, seconds=0.0))
    _rebind(b)


case("VXP-F006", "maps in no time", cell("items", "runtime_ms", 3, 0.0))
case("VXP-F007", "three clusters", lambda b: b.table("samples", lambda t: t.update(cluster=[f"c{i % 3}" for i in range(24)])))
case("VXP-F010", "negative values declared unsigned", lambda b: (
    b.tensors("shard", lambda t: t["values"].__imul__(-1)), edit("set", explainer__signed=False)(b)))
case("VXP-F015", "absolute values declared signed", lambda b: (edit("set", explainer__signed=True)(b),
                                                               edit("result", explainer__signed=True)(b)))
case("VXP-F002", "one map with noise for all", lambda b: b.tensors("shard", lambda t: t["values"].__setitem__(
    slice(None), t["values"][0] * np.random.default_rng(0).uniform(0.99, 1.01, t["values"].shape))))
case("VXP-F002", "one blob with 15 % noise", blobs(0.15, 0))
case("VXP-F002", "one blob moved by up to 9 pixels", blobs(0, 9))
case("VXP-F002", "one blob moved by up to 9 pixels with 15 % noise", blobs(0.15, 9))
case("VXP-F002", "one blob under another power for every item", lambda b: b.tensors("shard", lambda t: t.update(values=np.stack(
    [blob(64, 0.2, (7, -5)) ** (1 + i / 4) for i in range(24)]).astype(np.float32))))
case("VXP-F013", "changes of a checkout without their digest", edit("environment", git=[
    {"name": "method", "commit": "0" * 40, "dirty": True}]))
case("VXP-F013", "changes that no commit has", edit("result", harness__dirty=True))


@breaks("VXP-F009", "an answer in the low bits")
def _(b: Broken) -> None:
    def hide(t: dict[str, np.ndarray]) -> None:
        coarse = np.kron(t["values"][:, ::16, ::16].astype(np.float16).astype(np.float32), np.ones((16, 16), np.float32))
        bits = np.random.default_rng(0).integers(0, 1 << 10, coarse.shape, np.uint32)
        t["values"] = ((coarse + np.float32(1)).view(np.uint32) & ~np.uint32(0x3FF) | bits).view(np.float32)
    b.tensors("shard", hide)


@pytest.mark.parametrize(("code", "number"), [(c, i) for c, found in FAILING.items() for i in range(len(found))],
                         ids=[f"{c}-{words.replace(' ', '-')}" for c, found in FAILING.items() for words, _ in found])
def test_every_rule_finds_its_fault(code: str, number: int, broken: Broken) -> None:
    _, change = FAILING[code][number]
    if change(broken) is not False:
        broken.seal()
    found = validate(broken.folder)
    assert code in codes(found), found.findings
    severity = rules()[code].severity
    assert severity != "error" or (found.verdict == "invalid" and found.exit_code == 1 and found.evidence == "E0")
    assert not found.stopped
    mine = next(f for f in found.findings if f["code"] == code)
    assert mine["examples"]
    assert mine["expected"]
    assert mine["fix"]
    vxp_schemas.validate(found.document())


def documented(b: Broken, kind: str, **changes: Any) -> None:
    """A document of one's own in the bundle, made from the registry's, and referred to by set and result."""
    own = dict(vxp_schemas.registry_document(f"{kind}s", {"task": "shapes", "model": "shapes-cnn"}[kind])) | changes
    own = {key: value for key, value in own.items() if value is not None}
    path = f"{b.result.rpartition('/')[0]}/{kind}.json"
    b.path(path).write_text(json.dumps(own))
    taken = documents.Taken.of(json.loads(b.path("result").read_bytes())["settings"])
    for name in ("set", "result"):
        edit(name, **{kind: documents.referred(own, taken if kind == "task" else None)})(b)
        if kind == "task":
            edit(name, dataset=own["dataset"])(b)
    b.json("submission.json", lambda d: d["documents"].append(
        {"mediaType": "application/json", "path": path, "size": 1, "digest": DIGEST}))
    b.seal()


@pytest.mark.parametrize(("kind", "changes", "code", "where"), [
    ("task", {"version": 2}, "VXP-K001", "/id"),
    ("task", {"id": "my-shapes"}, "VXP-K001", "/items"),
    ("task", {"id": "my-shapes", "dataset": {"id": "photos", "version": 9, "digest": DIGEST}}, "VXP-K002", "/dataset"),
    ("model", {"version": 2}, "VXP-K003", "/id"),
])
def test_versions_and_lists_of_the_registry_are_the_registrys(
    kind: str, changes: dict[str, Any], code: str, where: str, broken: Broken,
) -> None:
    """The next version of a registered task, which only its submitter has, would be read as the registry's."""
    documented(broken, kind, **changes)
    found = validate(broken.folder)
    assert where in [e["where"] for f in found.findings if f["code"] == code for e in f["examples"]], found.findings
    assert found.verdict == "invalid"


def test_a_task_with_a_name_and_a_list_of_its_own_is_taken(broken: Broken) -> None:
    documented(broken, "task", id="my-shapes", items=None)
    assert not codes(validate(broken.folder)) & {"VXP-K001", "VXP-K002", "VXP-K003", "VXP-K021"}


def test_flags_deleted_from_a_stored_report_are_raised_again(broken: Broken) -> None:
    """What a record's own files give is not read from its report; flags of maps are, which the record is without."""
    broken.table("items", lambda t: t.update(payload_digest=[t["payload_digest"][0]] * 24, runtime_ms=[0.0] * 24))
    broken.json("result", lambda d: d["cost"]["explain"].update(seconds=0.0))
    broken.seal(rows=False)
    broken.path("shard").unlink()
    broken.path("curves").unlink()
    again = validate(broken.folder, record=True)
    assert not codes(again, "error"), again.findings
    whole = [*again.findings, {**again.findings[0], "code": "VXP-F005", "file": broken.set}]
    kept = report.findings_of_record(again, {"findings": whole})
    assert [f["code"] for f in kept] == [f["code"] for f in whole]
    forged = report.findings_of_record(again, {"findings": []})
    assert {"VXP-F002", "VXP-F006"} <= {f["code"] for f in forged}


def test_names_in_any_one_script_are_names(broken: Broken) -> None:
    names = ["\u0410\u043d\u043d\u0430 \u041a.", "Zo\u00eb D\u2019Arc", "\u738b \u5c0f\u660e",
             "\u0391\u03bd\u03bd\u03b1 B. Smith"]
    edit("submission.json", authors=names, conflicts_of_interest="None.")(broken)
    broken.seal()
    assert not codes(validate(broken.folder), "error")


def test_every_rule_has_a_bundle_that_breaks_it() -> None:
    tar = {"VXP-S005"}
    assert set(FAILING) | set(ELSEWHERE) | tar == set(rules())
    for code, file in ELSEWHERE.items():
        assert code in (Path(__file__).parent / file).read_text(), f"{code} has no failing bundle in {file}"


# -------------------------------------------------------------------------------------------------------------------- tar


@pytest.fixture(scope="session")
def tarred(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tar") / "bundle.tar"
    bundles.write_tar(out, {p.relative_to(whole).as_posix(): p for p in whole.rglob("*") if p.is_file()})
    return out


def test_a_tar_is_read_like_its_folder(whole: Path, tarred: Path, tmp_path: Path) -> None:
    folder, tar = validate(whole), validate(tarred)
    assert tar.root_digest == folder.root_digest
    assert codes(tar) == codes(folder)
    assert tar.verdict == folder.verdict
    with tarfile.open(tarred) as standard:  # as every other reader sees it
        names = standard.getnames()
        assert names == sorted(names) == list(bundles.open_bundle(tarred).paths)
        assert standard.extractfile("system.json").read() == (whole / "system.json").read_bytes()  # type: ignore[union-attr]
    again = tmp_path / "again.tar"
    bundles.write_tar(again, {p.relative_to(whole).as_posix(): p for p in whole.rglob("*") if p.is_file()})
    assert again.read_bytes() == tarred.read_bytes()


def _packed(whole: Path, out: Path, change: Callable[[tarfile.TarInfo], object] = lambda i: None, *, mode: str = "w",
            form: int = tarfile.USTAR_FORMAT, reverse: bool = False) -> Path:
    with tarfile.open(out, mode, format=form) as tar:
        for file in sorted((p for p in whole.rglob("*") if p.is_file()), key=lambda p: p.relative_to(whole).as_posix().encode(),
                           reverse=reverse):
            info = tarfile.TarInfo(file.relative_to(whole).as_posix())
            info.size, info.mode = file.stat().st_size, 0o644
            change(info)
            tar.addfile(info, file.open("rb"))
        end = tar.offset
    if mode == "w":
        os.truncate(out, end + 1024)  # without the zeros up to a whole record
    return out


def test_a_tar_of_another_program_with_the_same_bytes_is_read(whole: Path, tarred: Path, tmp_path: Path) -> None:
    packed = _packed(whole, tmp_path / "b.tar")
    assert packed.read_bytes() == tarred.read_bytes()
    assert not codes(validate(packed), "error")


@pytest.mark.parametrize("place", ["padding", "behind-name", "link-name", "device", "reserved", "end", "one-block-more"])
def test_bytes_that_no_digest_binds_cannot_travel_in_a_tar(place: str, tarred: Path, tmp_path: Path) -> None:
    data = bytearray(tarred.read_bytes())
    with tarfile.open(tarred) as tar:
        info = next(i for i in tar if i.size % 512)
    header = info.offset
    if place == "one-block-more":
        data += bytes(512)
    elif place == "padding":
        data[info.offset_data + info.size] = 1
    elif place == "end":
        data[-1] = 1
    else:
        data[header + {"behind-name": 99, "link-name": 200, "device": 330, "reserved": 505}[place]] = 1
        total = sum(data[header : header + 148]) + 8 * 32 + sum(data[header + 156 : header + 512])
        data[header + 148 : header + 156] = f"{total:06o}\0 ".encode()
    (tmp_path / "hidden.tar").write_bytes(data)
    assert codes(validate(tmp_path / "hidden.tar"), "error") == {"VXP-S005"}


@pytest.mark.parametrize(("words", "change", "more"), [
    ("an owner", lambda i: setattr(i, "uid", 1000), {}),
    ("a time", lambda i: setattr(i, "mtime", 1), {}),
    ("a mode", lambda i: setattr(i, "mode", 0o755), {}),
    ("another order", lambda i: None, {"reverse": True}),
    ("compressed", lambda i: None, {"mode": "w:gz"}),
    ("GNU long names", lambda i: setattr(i, "name", i.name + "x" * 120), {"form": tarfile.GNU_FORMAT}),
    ("PAX headers", lambda i: setattr(i, "pax_headers", {"path": "../../etc/passwd"}), {"form": tarfile.PAX_FORMAT}),
])
def test_other_tars_are_refused(words: str, change: Any, more: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    found = validate(_packed(whole, tmp_path / "b.tar", change, **more))
    assert "VXP-S005" in codes(found) or "VXP-S004" in codes(found), words
    assert found.verdict == "invalid"


@pytest.mark.parametrize(("words", "name", "kind", "code"), [
    ("up and out", "../evil", tarfile.REGTYPE, "VXP-S002"), ("from the root", "/etc/evil", tarfile.REGTYPE, "VXP-S002"),
    ("a home", "~root/evil", tarfile.REGTYPE, "VXP-S002"), ("another machine", "\\\\host\\x", tarfile.REGTYPE, "VXP-S002"),
    ("a link", "zlink", tarfile.SYMTYPE, "VXP-S004"), ("a hard link", "zlink", tarfile.LNKTYPE, "VXP-S004"),
    ("a device", "zdevice", tarfile.CHRTYPE, "VXP-S004"), ("a pipe", "zpipe", tarfile.FIFOTYPE, "VXP-S004"),
])
def test_entries_that_lead_out_of_a_tar_are_refused(words: str, name: str, kind: bytes, code: str, tmp_path: Path) -> None:
    out = tmp_path / "b.tar"
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = kind, "/etc/passwd", 0o644
        tar.addfile(info)
    found = validate(out)
    assert code in codes(found), words
    with pytest.raises(VxpError, match=code):
        bundles.open_bundle(out)


@pytest.mark.parametrize("cut", [1, 511, 512, 700, 5000])
def test_a_tar_cut_off_is_refused(cut: int, tarred: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.tar"
    out.write_bytes(tarred.read_bytes()[:cut])
    assert validate(out).verdict == "invalid"


def test_bytes_after_the_end_of_a_tar_are_refused(tarred: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.tar"
    out.write_bytes(tarred.read_bytes() + b"\0" * 512 + b"hidden")
    assert "VXP-S005" in codes(validate(out))


# ------------------------------------------------------------------------------------------------------ bombs, crash, output


def test_a_table_that_claims_more_than_its_cap_is_not_read(broken: Broken) -> None:
    n = 4_000_000
    pq.write_table(pa.table({f"c{i}": pa.array(np.zeros(n)) for i in range(80)}), broken.path("samples"), compression="zstd")
    broken.seal()
    found = validate(broken.folder)
    assert "VXP-S022" in codes(found)
    assert broken.path("samples").stat().st_size < 4 << 20


def test_many_files_are_counted_and_not_opened(broken: Broken) -> None:
    for i in range(bundles.MAX_FILES + 1):
        (broken.folder / f"f{i}").touch()
    assert "VXP-S006" in codes(validate(broken.folder))


def test_a_check_that_breaks_off_never_passes(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vxp.validation import content
    monkeypatch.setattr(content, "check", lambda state, looker: 1 / 0)
    found = validate(whole)
    assert found.verdict == "could-not-complete"
    assert found.exit_code == 3
    assert found.evidence == "E0"
    assert "ZeroDivisionError" in next(c["reason"] for c in found.checks if c["check"] == "content")


def test_a_process_that_dies_never_passes(whole: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dying = tmp_path / "python"
    dying.write_text(f"#!/bin/sh\n{sys.executable} -c 'import os, signal; os.kill(os.getpid(), signal.SIGSEGV)'\nexit 139\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    found = apart(whole, "consistency")
    assert found.verdict == "could-not-complete"
    assert found.exit_code == 3


def test_the_process_of_its_own_gives_the_same_report(broken: Broken) -> None:
    cell("items", "target_score", 3, 1.5)(broken)
    broken.seal()
    ours, apart_ = validate(broken.folder), apart(broken.folder, "consistency")
    assert apart_.findings == ours.findings
    assert apart_.verdict == ours.verdict
    assert apart_.root_digest == ours.root_digest


def test_all_faults_are_reported_at_once(broken: Broken) -> None:
    for change in (cell("items", "target_score", 3, 1.5), cell("samples", DELETION, 3, 1.25), edit("result", settings__seed=7)):
        change(broken)
    broken.seal()
    assert {"VXP-C013", "VXP-C022", "VXP-K015"} <= codes(validate(broken.folder))


def test_equal_faults_are_one_finding_with_a_count(broken: Broken) -> None:
    broken.table("items", lambda t: t.update(target_score=[2.0] * 24))
    broken.seal()
    found = next(f for f in validate(broken.folder).findings if f["code"] == "VXP-C013")
    assert found["count"] == 24
    assert len(found["examples"]) == 5
    assert "row 0, item" in found["examples"][0]["where"]


@pytest.mark.parametrize("level", report.LEVELS)
def test_a_level_says_what_it_did_not_check(level: str, whole: Path) -> None:
    found = validate(whole, level)
    ran = [c["check"] for c in found.checks if c["ran"]]
    assert ran == list(report.LEVELS[: report.LEVELS.index(level) + 1])[: 4]
    assert found.verdict == "no-errors-found (partial)"


def test_warnings_count_under_strict(broken: Broken) -> None:
    edit("result", flags=[])(broken)
    broken.seal()
    assert validate(broken.folder).exit_code == 0
    assert validate(broken.folder, strict=True).exit_code == 4
    assert "--strict" in validate(broken.folder, strict=True).last_line


def test_formats_for_programs(broken: Broken) -> None:
    broken.json("submission.json", lambda d: d.update(title="<script>alert(1)</script>", extra="<b>&"))
    found = validate(broken.folder)
    assert vxp_schemas.loads(report.as_json(found).encode())["verdict"] == "invalid"
    suite = ET.fromstring(report.as_junit(found))
    assert int(suite.get("failures", 0)) == 1 == len(suite.findall(".//failure"))
    sarif = json.loads(report.as_sarif(found))["runs"][0]
    assert {r["ruleId"] for r in sarif["results"]} == codes(found) == {r["id"] for r in sarif["tool"]["driver"]["rules"]}
    page = report.as_html(found)
    assert "VXP-S011" in page
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_names_from_strangers_are_escaped_in_every_format(broken: Broken) -> None:
    broken.path("<img src=x onerror=alert(1)>\x1b[31m.json").write_text("x")
    found = validate(broken.folder)
    assert "<img" not in report.as_html(found)
    ET.fromstring(report.as_junit(found))
    assert "\x1b" not in json.dumps(found.document(), ensure_ascii=False)


def test_verdict_and_code_belong_together() -> None:
    assert set(CODES) == {"valid", "invalid", "no-errors-found (partial)", "could-not-complete"}
    assert Report("b", "recompute", None, "E2", [{"check": "all", "ran": True}]).verdict == "valid"


def test_litter_is_mended_and_nothing_else(broken: Broken) -> None:
    broken.path(".DS_Store").write_text("x")
    broken.path("notes.txt").write_text("x")
    os.link(broken.path("system.json"), broken.folder.parent / "other")
    assert any(".DS_Store" in line for line in fixes(broken.folder, write=False))
    assert broken.path(".DS_Store").exists()
    fixes(broken.folder, write=True)
    assert not broken.path(".DS_Store").exists()
    assert broken.path("notes.txt").exists()
    assert broken.path("system.json").stat().st_nlink == 1
    assert codes(validate(broken.folder), "error") == {"VXP-I004"}


# ------------------------------------------------------------------------------------------------------------------ command


def test_the_command_says_its_verdict_last_and_in_its_exit_code(
    whole: Path, broken: Broken, tmp_path: Path, run_vxp: Vxp,
) -> None:
    good = run_vxp("validate", str(whole), "--json", "report.json", folder=tmp_path)
    assert good.returncode == 0
    assert good.stdout.strip().splitlines()[-1].startswith("bundle: no errors found (partial)")
    vxp_schemas.validate(vxp_schemas.loads((tmp_path / "report.json").read_bytes()))
    cell("items", "target_score", 3, 1.5)(broken)
    bad = run_vxp("validate", str(broken.folder), folder=tmp_path)
    assert bad.returncode == 1
    assert bad.stdout.strip().splitlines()[-1].startswith("broken: invalid")
    assert run_vxp("validate", "nowhere", folder=tmp_path).returncode == 2
    assert run_vxp("validate", str(whole), "--level", "deep", folder=tmp_path).returncode == 2
    assert "VXP-C002" in run_vxp("explain-code", "c002", folder=tmp_path).stdout


# ------------------------------------------------------------------------------------------------------------------ sealing


def test_sealing_needs_the_submitters_word_and_never_overwrites(whole: Path, tmp_path: Path) -> None:
    run = whole.parent / "run"
    with pytest.raises(VxpError, match="a form has been written"):
        sealing.seal([run], "saliency", tmp_path / "form.json", tmp_path / "out")
    with pytest.raises(VxpError, match="/conflicts_of_interest is empty"):
        sealing.seal([run], "saliency", tmp_path / "form.json", tmp_path / "out")
    with pytest.raises(VxpError, match="did you mean 'saliency'"):
        sealing.seal([run], "salency", whole.parent / "bundle.statement.json", tmp_path / "out")
    with pytest.raises(VxpError, match="a reference"):
        sealing.seal([run], "random", whole.parent / "bundle.statement.json", tmp_path / "out")
    with pytest.raises(VxpError, match="never changed"):
        sealing.seal([run], "saliency", whole.parent / "bundle.statement.json", whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["form.json"]


def test_sealing_refuses_a_damaged_run(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole.parent / "run", run)
    shard = next(run.glob("explanations/*saliency*/payload/*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(VxpError, match="damaged or was changed"):
        sealing.seal([run], "saliency", whole.parent / "bundle.statement.json", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_documentation_goes_with_the_bundle(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "METHOD.md").write_text("# Saliency\n")
    statement = whole.parent / "bundle.statement.json"
    sealing.seal([whole.parent / "run"], "saliency", statement, tmp_path / "out.tar", documentation=tmp_path / "texts")
    assert not codes(validate(tmp_path / "out.tar"), "error")
    assert bundles.open_bundle(tmp_path / "out.tar").read("documentation/METHOD.md") == b"# Saliency\n"
    (tmp_path / "texts" / "weights.pt").write_bytes(b"x")
    with pytest.raises(VxpError, match="expected texts"):
        sealing.seal([whole.parent / "run"], "saliency", statement, tmp_path / "two", documentation=tmp_path / "texts")
