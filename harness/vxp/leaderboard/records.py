"""Records: bundles without maps and curves, small enough for git, and beside each what tools said of the whole bundle.

```
records/<submission id>-<first 12 digits of the root digest>/
  bundle/...            every file of the bundle but shards and curves
  report.json           the validation of the whole bundle, made when the record was added
  audits/<digest>.json  audits of the whole bundle, as vxp verify wrote them, signed or not
  signature.json        the submitter's signature, where there is one
  withdrawal.json       the submitter's withdrawal, where there is one
```

Nothing in a record is believed because it is there: files are bound by the root digest, aggregates are computed again from
the scores per item, and an audit counts only for the root digest that it names and by whose signature it has
(`vxp.leaderboard.trust`).
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import vxp_schemas
from vxp_schemas import typed

from vxp import validation
from vxp.audit import nonces
from vxp.bundles import Bundle, open_bundle, shown, signing
from vxp.bundles.signing import Signed, Statement
from vxp.core import VxpError
from vxp.documents import store
from vxp.documents.findings import Findings
from vxp.leaderboard import known
from vxp.leaderboard import trust as trusting
from vxp.leaderboard.known import NOTHING, Memory
from vxp.leaderboard.trust import Standing, Trust
from vxp.report import compare
from vxp.validation import arrays
from vxp.validation.report import findings_of_record

BUNDLE, REPORT, AUDITS, SIGNATURE, WITHDRAWAL = "bundle", "report.json", "audits", "signature.json", "withdrawal.json"
T = TypeVar("T")
Evidence = Literal["E1", "E2", "E3", "E4"]
LEVELS: tuple[Evidence, ...] = ("E1", "E2", "E3", "E4")
"""Levels of evidence on a board, in their order."""
Opened = tuple[Bundle, str] | None
"""A bundle with the digest of its every byte, where it was read in order."""
SHARE = 0.05
"""An audit counts on the board if its sample finds a change of this share of the items with probability 0.95."""


@dataclass(frozen=True)
class Withdrawal:
    """A statement by which a submission is taken back."""

    predicate: typed.Withdrawal
    standing: Standing


@dataclass(frozen=True, eq=False)
class Record:
    """A submission on the board."""

    folder: Path
    bundle: Bundle
    report: typed.Report
    audits: Mapping[str, typed.Audit]
    """The predicates of all audits by file."""
    standings: Mapping[str, Standing]
    """What the signatures of each are worth."""
    signature: Standing
    """Of the submission."""
    withdrawal: Withdrawal | None = None
    key: str | None = None
    """The digest of every byte of the bundle, where it was read in order."""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def submission(self) -> typed.Submission:
        return self.bundle.submission

    @cached_property
    def report_digest(self) -> str:
        """The SHA-256 of report.json, whose flags of maps nothing here can give again (12.7.5)."""
        return f"sha256:{hashlib.sha256(store.read_file(self.folder / REPORT)).hexdigest()}"

    @cached_property
    def system(self) -> typed.System:
        return self.bundle.document(self.submission["system"]["path"], typed.System)

    @cached_property
    def results(self) -> list[typed.Result]:
        """The documents of the results without what they say of references, which a board does not show."""
        found = [self.bundle.document(described["path"], typed.Result) for described in self.submission["results"]]
        return [document | {"references": []} for document in found]

    def samples(self, result_id: str) -> compare.Samples:
        """A result with its scores per item, read from the files each time: those of a whole board fill the memory."""
        [found] = compare.of_bundle(self.bundle, references=False, only=result_id)
        return found

    def payload(self, set_id: str, memory: Memory = NOTHING) -> str:
        """One digest over the digests of the maps of a set."""
        def made() -> str:
            [(described, manifest)] = [(d, m) for d in self.submission["sets"]
                                       if (m := self.bundle.document(d["path"], typed.Set))["set_id"] == set_id]
            path = f"{described['path'].rpartition('/')[0]}/{manifest['items']['path']}"
            with self.bundle.stream(path) as stream:
                rows = arrays.table(stream, self.bundle.size(path), arrays.ITEMS, None)["payload_digest"]
            return f"sha256:{hashlib.sha256(b''.join(rows)).hexdigest()}"

        return made() if self.key is None else str(memory.kept(made, "payload", self.key, set_id))

    @property
    def trusted(self) -> list[typed.Audit]:
        """The audits whose signatures count."""
        return [predicate for file, predicate in self.audits.items() if self.standings[file].trusted]

    @property
    def identity(self) -> str | None:
        """Who signed the submission, as trust.json calls them; None where nobody did who may."""
        return self.signature.signed_by[0] if self.signature.trusted else None

    @property
    def withdrawn(self) -> str | None:
        """Why the submission was taken back, in its submitter's words; None where it was not."""
        if self.withdrawal is None or not self.withdrawal.standing.trusted:
            return None
        return str(self.withdrawal.predicate["reason"])

    @property
    def refuted(self) -> bool:
        """Whether a trusted audit found something else than the bundle says."""
        return any(a["verdict"] in trusting.REFUTING for a in self.trusted)

    @cached_property
    def evidence(self) -> Evidence:
        """The best level that a trusted audit of a large enough sample gives; otherwise E1, which the board computes itself."""
        return self._best(a for a in self.trusted if counts(a))

    def evidence_of(self, result_id: str, signature: str) -> Evidence:
        """The level of one score: an audit without the explainer leaves those out that explain again."""
        return self._best(a for a in self.trusted if counts(a) and any(
            s["result"] == result_id and s["signature"] == signature and s["n"] for s in a["scores"]))

    def _best(self, audits: Iterable[typed.Audit]) -> Evidence:
        found = set() if self.refuted else {a["evidence"] for a in audits}
        return max((level for level in LEVELS if level in found), default="E1")

    def recomputed(self, result_id: str, signature: str) -> typed.AuditScoreRecomputed | None:
        """The aggregate of a score that a trusted audit of all its items computed; None where none did."""
        found = (s["recomputed"] for a in self.trusted if counts(a) for s in a["scores"]
                 if (s["result"], s["signature"]) == (result_id, signature) and "recomputed" in s)
        return next((again for again in found if again["whole"]), None)


def supersedes(later: Record, earlier: Record) -> bool:
    """Whether a submission takes the place of another, which only the identity that signed both may say."""
    return later.submission.get("supersedes") == earlier.bundle.root_digest and why_not_superseded(later, earlier) == ""


def why_not_superseded(later: Record, earlier: Record) -> str:
    """Why a submission that names another as superseded does not take its place; empty where it does."""
    for record, which in ((later, "this submission"), (earlier, "the earlier one")):
        if record.identity is None:
            return f"{which}: {record.signature.why_not}"
    if later.identity != earlier.identity:
        return f"this submission is signed by {later.identity}, the earlier one by {earlier.identity}"
    return ""


def counts(predicate: typed.Audit) -> bool:
    """Whether an audit raises evidence on the board, once it is trusted."""
    return bool(predicate["verdict"] == "reproduced" and predicate["policy"]["smallest_share"] <= SHARE
                and not any(s["beyond"] for s in (*predicate["scores"], *predicate["maps"])))


def held(trust: Trust, said: tuple[Signed, typed.Signature | typed.Withdrawal] | None, bundle: Bundle) -> Standing:
    """The same of a statement with its predicate. It is held to its date: of a signature, whose key is valid when it is
    added."""
    if said is None:
        return trusting.of_submission(trust, None, "", "")
    return trusting.of_submission(trust, said[0], str(said[1]["created"]), str(bundle.submission["submitter"]["name"]))


def own(bundle: Bundle, statement: Statement, file: str, findings: Findings) -> None:
    """A statement is about this bundle, and repeats what its submission.json says."""
    said = signing.subject(statement)
    if said != bundle.root_digest:
        findings.add("VXP-I007", file, "/subject/0/digest", said, f"{bundle.root_digest}, the root digest of the bundle")
        return
    repeated = {signing.SIGNATURE: ("submission_id", "submitter", "supersedes"), signing.WITHDRAWAL: ("submission_id",)}
    for name in repeated.get(statement["predicateType"], ()):
        got, there = statement["predicate"].get(name), bundle.submission.get(name)
        if got != there:
            findings.add("VXP-I007", file, f"/predicate/{name}", str(got), f"{there}, as submission.json says")
    if statement["predicateType"] == signing.AUDIT:
        predicate = statement["predicate"]
        wrong = nonces.fault(predicate["policy"], bundle.submission["created"], predicate["created"])
        if wrong is not None:
            findings.add("VXP-I011", file, "/predicate/policy", wrong, "a nonce that follows from the source that it names")


def read_all(folder: Path, memory: Memory = NOTHING) -> tuple[list[Record], dict[str, list[typed.Finding]]]:
    """The records of a folder by name, each checked again; and by record the errors that were found, which must be none.

    memory: has the validations of records that have not changed.
    """
    if not folder.is_dir():
        raise VxpError(f"{folder} is no folder: expected the records that vxp leaderboard add writes")
    trust = trusting.read(folder)
    records, wrong = [], {}
    places = []
    for place in sorted(p for p in folder.iterdir() if not p.name.startswith(".")):
        findings = Findings()
        irregular(place, findings)
        if findings.errors:
            wrong[shown(place.name)] = [f.document() for f in findings.all]
        else:
            places.append(place)
    for place, opened, found in _validated(places, memory):
        record, errors = read(place, found, trust, opened, memory)
        if errors:
            wrong[shown(place.name)] = errors
        elif record is not None:
            records.append(record)
    return sorted(records, key=lambda record: record.folder), dict(sorted(wrong.items()))


def _validated(places: Sequence[Path], memory: Memory) -> Iterator[tuple[Path, Opened, validation.Report]]:
    """The digest and the validation of the bundle in each of these folders: first of those that were validated before, while
    the others are."""
    opened = {place: known.opened(place / BUNDLE) for place in places}
    there = {place: memory.get("validation", facts[1]) for place, facts in opened.items() if facts is not None}
    new = [place / BUNDLE for place in places if there.get(place) is None]
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(validation.all_apart, new, "consistency", record=True)
        yield from ((place, opened[place], validation.Report.read(said)) for place, said in there.items() if said is not None)
        for bundle, report in others.result():
            before = opened[bundle.parent]
            after = None if before is None else known.opened(bundle)
            if before is None or after is None or after[1] != before[1]:
                yield bundle.parent, None, report  # somebody wrote to it meanwhile
                continue
            if not report.stopped and not report.of("error"):
                memory.put(report.document(), "validation", after[1])
            yield bundle.parent, after, report


def irregular(place: Path, findings: Findings) -> None:
    """Links, pipes and large files beside the bundle, which a pull request may bring, before anything is opened."""
    def within() -> Iterator[Path]:
        yield from (place, *(place / name for name in (BUNDLE, REPORT, AUDITS, SIGNATURE, WITHDRAWAL)))
        yield from sorted((place / AUDITS).glob("*"))  # not before it is known to be a folder

    for path in within():
        try:
            facts = path.lstat()
        except OSError:
            continue  # a report that is missing is said below; the others may be
        folder = path in (place, place / BUNDLE, place / AUDITS)
        if not (stat.S_ISDIR(facts.st_mode) if folder else stat.S_ISREG(facts.st_mode)):
            findings.add("VXP-S004", shown(path.relative_to(place.parent).as_posix()), "", "a link or another kind of file",
                         "a folder" if folder else "a regular file")
            return
        if not folder and facts.st_size > store.MAX_JSON:
            findings.add("VXP-S006", shown(path.relative_to(place.parent).as_posix()), "", f"{facts.st_size} bytes",
                         f"at most {store.MAX_JSON} bytes (16 MiB)")


def read(
    place: Path, found: validation.Report, trust: Trust, opened: Opened = None, memory: Memory = NOTHING
) -> tuple[Record | None, list[typed.Finding]]:
    """The record in a folder whose bundle was validated, or the errors that were found."""
    if found.of("error"):
        return None, found.of("error")
    if found.stopped:
        raise VxpError(f"{place} could not be checked: {next(c['reason'] for c in found.checks if not c['ran'])}")
    bundle, key = opened or (open_bundle(place / BUNDLE), None)
    bundle = replace(bundle, checked=True)
    findings = Findings()
    report = _report(place / REPORT, bundle, findings, memory)
    files = sorted((place / AUDITS).glob("*.json")) if (place / AUDITS).is_dir() else []
    audits = {f.name: said for f in files if (said := _statement(f, typed.Audit, bundle, findings, memory)) is not None}
    signed = _statement(place / SIGNATURE, typed.Signature, bundle, findings, memory)
    taken = _statement(place / WITHDRAWAL, typed.Withdrawal, bundle, findings, memory)
    strays = sorted({p.name for p in place.iterdir()} - {BUNDLE, REPORT, AUDITS, SIGNATURE, WITHDRAWAL})
    strays += sorted(f"{AUDITS}/{p.name}" for p in (place / AUDITS).glob("*") if p.suffix != ".json")
    if strays:
        findings.add("VXP-I004", shown(strays[0]), "", f"{len(strays)} other files", f"only {BUNDLE}, {REPORT}, {SIGNATURE}, "
                     f"{WITHDRAWAL}, and statements in {AUDITS}")
    expected = f"{bundle.submission['submission_id']}-{bundle.root_digest[7:19]}"
    if place.name != expected:
        findings.add("VXP-I007", "", "name of the folder", place.name, f"{expected}, as vxp leaderboard add names it")
    if findings.errors or report is None:
        return None, [f.document() for f in findings.all]
    signature = held(trust, signed, bundle)
    withdrawal = None
    if taken is not None:
        standing = held(trust, taken, bundle)
        if standing.trusted and not signature.trusted:
            standing = Standing(standing.signed_by, f"the submission: {signature.why_not}")
        withdrawal = Withdrawal(taken[1], standing)
    standings = trusting.of_audits(trust, audits, signature, str(bundle.submission["submitter"]["name"]))
    _flags(trust, bundle, signature, {file: predicate for file, (_, predicate) in audits.items() if standings[file].trusted},
           findings)
    # what the files here give is computed again; of the maps, the report of the whole bundle is all there is
    report = report | {"findings": [*findings_of_record(found, report), *(f.document() for f in findings.all)]}
    return Record(place, bundle, report, {file: predicate for file, (_, predicate) in audits.items()}, standings, signature,
                  withdrawal, key), []


def _flags(
    trust: Trust, bundle: Bundle, signature: Standing, audits: Mapping[str, typed.Audit], findings: Findings
) -> None:
    """What signatures and trusted audits leave to the reviewer's judgement."""
    submitter = str(bundle.submission["submitter"]["name"])
    owner = trust.called(submitter)
    if owner is not None and not signature.trusted:
        findings.add("VXP-F019", SIGNATURE, "", f"the name of {owner}, {submitter}, {signature.why_not}",
                     f"a signature by {owner}")
    rows = max(int(bundle.document(d["path"], typed.Set)["n_items"]["present"]) for d in bundle.submission["sets"])
    for file, predicate in audits.items():
        policy = predicate["policy"]
        if policy["sample"] is not None and policy["sample"] < rows and policy.get("source", "auditor") == "auditor":
            findings.add("VXP-F018", f"{AUDITS}/{file}", "/predicate/policy/source", f"{policy['sample']} of {rows} items by a "
                         "nonce that the auditor chose", "all items, or the nonce of a commitment or a beacon")


def _report(path: Path, bundle: Bundle, findings: Findings, memory: Memory) -> typed.Report | None:
    """The stored report; None where it cannot be read, or is none of this bundle without errors."""
    try:
        key = hashlib.sha256(store.read_file(path)).hexdigest()
        report: typed.Report = memory.kept(lambda: store.read_document(path, typed.Report), "report", key)
    except (VxpError, OSError) as error:
        _unreadable(REPORT, error, "the report of vxp leaderboard add", findings)
        return None
    root = report.get("root_digest")
    if root != bundle.root_digest:
        findings.add("VXP-I007", REPORT, "/root_digest", str(root), f"{bundle.root_digest}, the root digest of the bundle")
        return None
    if report["verdict"] in ("invalid", "could-not-complete"):
        findings.add("VXP-I007", REPORT, "/verdict", report["verdict"], "the report of a bundle without errors")
    return report


def _statement(
    path: Path, predicate: type[T], bundle: Bundle, findings: Findings, memory: Memory
) -> tuple[Signed, T] | None:
    """A stored statement with its signatures, and its predicate; None where there is none or it cannot be read."""
    if not path.exists():
        return None
    kind = vxp_schemas.type_of(predicate)
    name = path.relative_to(path.parents[1 if kind == signing.AUDIT else 0]).as_posix()
    try:
        given = signing.read(path)
        key = hashlib.sha256(given.payload).hexdigest()
        said: Statement = memory.kept(lambda: signing.statement(given.payload, kind, path), "statement", kind, key)
    except VxpError as error:
        _unreadable(name, error, f"a statement with the {signing.KINDS[kind]}", findings)
        return None
    own(bundle, said, name, findings)
    return given, said["predicate"]


def _unreadable(file: str, error: Exception, expected: str, findings: Findings) -> None:
    """A broken file is the fault of its record, and stops no other."""
    findings.add("VXP-I012", shown(file), "", " ".join(str(error).split()), expected)


__all__ = ["AUDITS", "BUNDLE", "REPORT", "SHARE", "SIGNATURE", "WITHDRAWAL", "Record", "Withdrawal", "counts", "read",
           "read_all", "supersedes", "why_not_superseded"]
