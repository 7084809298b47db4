"""Records: bundles without maps and curves, small enough for git, and beside each what tools said of the whole bundle.

```
records/<submission id>-<first 12 digits of the root digest>/
  bundle/...            every file of the bundle but shards and curves
  report.json           the validation of the whole bundle, made when the record was added
  audits/<digest>.json  audits of the whole bundle, as vxp verify wrote them
```

Nothing in a record is believed because it is there: files are bound by the root digest, aggregates are computed again from
the scores per item, and an audit counts only for the root digest that it names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vxp import audit, compare, result, store, validation
from vxp.bundles import Bundle, open_bundle, shown
from vxp.core import VxpError
from vxp.findings import Findings
from vxp.validation import arrays

BUNDLE, REPORT, AUDITS = "bundle", "report.json", "audits"
SHARE = 0.05
"""An audit counts on the board if its sample finds a change of this share of the items with probability 0.95."""


@dataclass(frozen=True, eq=False)
class Record:
    """A submission on the board."""

    folder: Path
    bundle: Bundle
    report: Mapping[str, Any]
    audits: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def submission(self) -> Mapping[str, Any]:
        return self.bundle.submission

    @cached_property
    def system(self) -> Mapping[str, Any]:
        return self.bundle.document(self.submission["system"]["path"])

    @cached_property
    def samples(self) -> list[compare.Samples]:
        return compare.of_bundle(self.bundle)

    @cached_property
    def manifests(self) -> dict[str, Mapping[str, Any]]:
        """The manifests of the sets by their ids."""
        found = [self.bundle.document(d["path"]) for d in self.submission["sets"]]
        return {str(m["set_id"]): m for m in found}

    @cached_property
    def payloads(self) -> dict[str, str]:
        """Of every set one digest over the digests of its maps, by the set's id."""
        found = {}
        for described in self.submission["sets"]:
            manifest = self.bundle.document(described["path"])
            path = f"{described['path'].rpartition('/')[0]}/{manifest['items']['path']}"
            with self.bundle.stream(path) as stream:
                rows = arrays.table(stream, self.bundle.size(path), arrays.ITEMS, None)["payload_digest"]
            found[str(manifest["set_id"])] = f"sha256:{hashlib.sha256(b''.join(rows)).hexdigest()}"
        return found

    @property
    def refuted(self) -> bool:
        """Whether an audit found something else than the bundle says."""
        return any(a["verdict"] in ("differs", "refused") for a in self.audits.values())

    @cached_property
    def evidence(self) -> str:
        """The best level that an audit of a large enough sample gives; E1, which the board computes itself, otherwise."""
        if self.refuted:
            return "E1"
        return max(["E1", *(str(a["evidence"]) for a in self.audits.values() if counts(a))])

    def evidence_of(self, result_id: str, signature: str) -> str:
        """The level of one score: an audit without the explainer leaves those out that explain again."""
        if self.refuted:
            return "E1"
        return max(["E1", *(str(a["evidence"]) for a in self.audits.values() if counts(a) and any(
            s["result"] == result_id and s["signature"] == signature and s["n"] for s in a["scores"]))])


def counts(predicate: Mapping[str, Any]) -> bool:
    """Whether an audit raises evidence on the board."""
    return bool(predicate["verdict"] == "reproduced" and predicate["policy"]["smallest_share"] <= SHARE
                and not any(s["beyond"] for s in (*predicate["scores"], *predicate["maps"])))


# ----------------------------------------------------------------------------------------------------------------- adding


def add(bundle: Path, folder: Path, audits: Sequence[Path]) -> tuple[Path | None, validation.Report, Findings]:
    """Write the record of a bundle, or add audits to the one that is there; its folder, the validation, and what is wrong
    with the audits. Nothing is written, and the folder is None, unless the bundle has no errors and the audits are its own.

    A report that is there and says something else gives way: whoever adds an audit has validated the whole bundle too.
    """
    report = validation.apart(bundle, "consistency")
    findings = Findings()
    if report.exit_code != 0:
        return None, report, findings
    whole = open_bundle(bundle)
    if whole.root_digest != report.root_digest:
        raise VxpError(f"{bundle} changed while it was checked: copy it to a place where nobody writes, and add it from there")
    statements = {path: audit.read(path) for path in audits}
    for path, statement in statements.items():
        _own(whole, statement, str(path), findings)
    if findings.errors:
        return None, report, findings
    target = folder / f"{whole.submission['submission_id']}-{whole.root_digest[7:19]}"
    if target.exists() or target.is_symlink():
        _irregular(target, findings)  # a pull request may have brought it, with links that lead elsewhere
        if findings.errors:
            return None, report, findings
    if not target.exists():
        _write(whole, report, target)
    elif not _says(target / REPORT, report):
        store.write_document(target / REPORT, report.document())
    for statement in statements.values():
        data = result.plain_json(statement)
        store.write_bytes(target / AUDITS / f"{hashlib.sha256(data).hexdigest()[:12]}.json", data)
    return target, report, findings


def _says(file: Path, report: validation.Report) -> bool:
    """Whether a stored report is this one, but for when and by which program it was written."""
    try:
        there, here = store.read_document(file), report.document()
    except (VxpError, OSError):
        return False
    return all(there.get(k) == here.get(k) for k in {*there, *here} - {"created", "generator", "bundle"})


def _own(bundle: Bundle, statement: Mapping[str, Any], file: str, findings: Findings) -> None:
    said, predicate = f"sha256:{statement['subject'][0]['digest']['sha256']}", statement["predicate"]
    if said != bundle.root_digest:
        findings.add("VXP-I007", file, "/subject/0/digest", said, f"{bundle.root_digest}, the root digest of the bundle")
        return
    wrong = audit.nonces.fault(predicate["policy"], bundle.submission["created"], predicate["created"])
    if wrong is not None:
        findings.add("VXP-I008", file, "/predicate/policy", wrong, "a nonce that follows from the source that it names")


def _write(whole: Bundle, report: validation.Report, target: Path) -> None:
    """All of the record beside its place first, then one rename."""
    left_out = set()
    for described in whole.submission["sets"]:
        inside = described["path"].rpartition("/")[0]
        left_out |= {f"{inside}/{s['descriptor']['path']}" for s in whole.document(described["path"])["shards"]}
    for described in whole.submission["results"]:
        document = whole.document(described["path"])
        left_out |= {document["curves"]["path"]} if "curves" in document else set()
    with store.whole(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
            top = Path(temporary) / "record"
            for path in whole.paths:
                if path not in left_out:
                    copy = top / BUNDLE / path
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    with whole.stream(path) as source, copy.open("wb") as sink:
                        shutil.copyfileobj(source, sink, 1 << 20)
            store.write_document(top / REPORT, report.document())
            os.replace(top, target)


# ---------------------------------------------------------------------------------------------------------------- reading


def read_all(folder: Path) -> tuple[list[Record], dict[str, list[dict[str, Any]]]]:
    """The records of a folder by name, each checked again; and by record the errors that were found, which must be none."""
    if not folder.is_dir():
        raise VxpError(f"{folder} is no folder: expected the records that vxp leaderboard add writes")
    records, wrong = [], {}
    places = []
    for place in sorted(p for p in folder.iterdir() if not p.name.startswith(".")):
        findings = Findings()
        _irregular(place, findings)
        if findings.errors:
            wrong[shown(place.name)] = [f.document() for f in findings.all]
        else:
            places.append(place)
    for bundle, found in validation.all_apart([p / BUNDLE for p in places], "consistency", record=True):
        place = bundle.parent
        record, errors = _read(place, found)
        if errors:
            wrong[shown(place.name)] = errors
        elif record is not None:
            records.append(record)
    return records, wrong


def _irregular(place: Path, findings: Findings) -> None:
    """Links, pipes and large files beside the bundle, which a pull request may bring, before anything is opened."""
    def within() -> Iterator[Path]:
        yield from (place, *(place / name for name in (BUNDLE, REPORT, AUDITS)))
        yield from sorted((place / AUDITS).glob("*"))  # not before it is known to be a folder

    for path in within():
        try:
            facts = path.lstat()
        except OSError:
            continue  # a report that is missing is said below
        folder = path in (place, place / BUNDLE, place / AUDITS)
        if not (stat.S_ISDIR(facts.st_mode) if folder else stat.S_ISREG(facts.st_mode)):
            findings.add("VXP-S004", shown(path.relative_to(place.parent).as_posix()), "", "a link or another kind of file",
                         "a folder" if folder else "a regular file")
            return
        if not folder and facts.st_size > store.MAX_JSON:
            findings.add("VXP-S006", shown(path.relative_to(place.parent).as_posix()), "", f"{facts.st_size} bytes",
                         f"at most {store.MAX_JSON} bytes (16 MiB)")


def _read(place: Path, found: validation.Report) -> tuple[Record | None, list[dict[str, Any]]]:
    if found.of("error"):
        return None, found.of("error")
    if found.stopped:
        raise VxpError(f"{place} could not be checked: {next(c['reason'] for c in found.checks if not c['ran'])}")
    bundle = open_bundle(place / BUNDLE)
    report = store.read_document(place / REPORT)
    findings = Findings()
    if report["type"] != result.TYPE.format("report") or report.get("root_digest") != bundle.root_digest:
        findings.add("VXP-I007", REPORT, "/root_digest", str(report.get("root_digest")), f"{bundle.root_digest}, the root "
                     "digest of the bundle")
    audits = {}
    for file in sorted((place / AUDITS).glob("*.json")) if (place / AUDITS).is_dir() else []:
        statement = audit.read(file)
        _own(bundle, statement, f"{AUDITS}/{file.name}", findings)
        audits[file.name] = statement["predicate"]
    strays = sorted({p.name for p in place.iterdir()} - {BUNDLE, REPORT, AUDITS})
    strays += sorted(f"{AUDITS}/{p.name}" for p in (place / AUDITS).glob("*") if p.suffix != ".json")
    if strays:
        findings.add("VXP-I004", shown(strays[0]), "", f"{len(strays)} other files", f"only {BUNDLE}, {REPORT}, and statements "
                     f"in {AUDITS}")
    expected = f"{bundle.submission['submission_id']}-{bundle.root_digest[7:19]}"
    if place.name != expected:
        findings.add("VXP-I007", "", "name of the folder", place.name, f"{expected}, as vxp leaderboard add names it")
    if report["verdict"] in ("invalid", "could-not-complete"):
        findings.add("VXP-I007", REPORT, "/verdict", report["verdict"], "the report of a bundle without errors")
    if findings.errors:
        return None, [f.document() for f in findings.all]
    return Record(place, bundle, report, audits), []


__all__ = ["AUDITS", "BUNDLE", "REPORT", "SHARE", "Record", "add", "counts", "read_all"]
