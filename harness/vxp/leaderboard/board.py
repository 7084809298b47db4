"""The board: all records as one document from which everything else is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NotRequired, TypedDict

from vxp_schemas import typed

from vxp.documents import shared, undated
from vxp.leaderboard.known import NOTHING, Memory
from vxp.leaderboard.records import Record, supersedes, why_not_superseded
from vxp.leaderboard.references import References
from vxp.leaderboard.tables import SHOWN, rounded, tables
from vxp.leaderboard.trust import Standing
from vxp.runs import result

Errors = dict[str, list[typed.Finding]]
"""By record what is wrong with it."""


def board(records: Sequence[Record], kept: References, memory: Memory = NOTHING) -> tuple[typed.Leaderboard, Errors]:
    """The document of these records and of the references that the repository keeps, and what only shows beside these."""
    latest = max((r.submission["created"] for r in records), default="1970-01-01T00:00:00Z")
    of_root = {record.bundle.root_digest: record for record in records}
    later: dict[str, Record] = {}
    for record in records:
        earlier = of_root.get(str(record.submission.get("supersedes")))
        if earlier is not None and supersedes(record, earlier):
            later.setdefault(earlier.name, record)
    hidden = {record.name: _hidden(record, later.get(record.name)) for record in records}
    raised: Errors = {record.name: [] for record in records}
    wrong: Errors = {}
    shown = []
    for table in tables(records, hidden, kept, memory):
        shown.append(table.document)
        for found, here in ((raised, table.raised), (wrong, table.wrong)):
            for name, findings in here.items():
                found.setdefault(name, []).extend(findings)
    document = undated(typed.Leaderboard) | {
        "latest": latest, "submissions": [rounded(_submission(r, hidden[r.name], raised[r.name], of_root)) for r in records],
        "tables": shown,
    }
    for part in _parts(document):
        memory.checked(part, json.dumps([part["submissions"], part["tables"]]))
    return document, wrong


def _parts(document: typed.Leaderboard) -> Iterator[typed.Leaderboard]:
    """The document in parts, since what was there before was checked before, and a check costs more than the part: its
    submissions, its tables without their entries, and the entries."""
    bare = document | {"submissions": [], "tables": []}
    yield from (bare | {"submissions": [submission]} for submission in document["submissions"])
    for table in document["tables"]:
        yield bare | {"tables": [table | {"entries": []}]}
        for entry in table["entries"]:
            yield bare | {"tables": [table | {"scores": [], "references": [], "entries": [entry]}]}


def _hidden(record: Record, later: Record | None) -> list[str]:
    """Why a record is not shown; nothing where it is."""
    hidden = [f"evidence {record.evidence}, below {SHOWN}"] if record.evidence < SHOWN else []
    hidden += [f"superseded by {later.name}"] if later else []
    return hidden + ([f"withdrawn by {record.identity}: {record.withdrawn}"] if record.withdrawn else [])


def _submission(
    record: Record, hidden: Sequence[str], raised: Sequence[typed.Finding], of_root: Mapping[str, Record]
) -> typed.LeaderboardSubmission:
    said = record.submission
    found = [f for f in record.report["findings"] if f["severity"] != "error"]
    found += [f for a in record.trusted for f in a["findings"]]
    found += raised
    return {
        "record": record.name, "submission_id": said["submission_id"], "root_digest": record.bundle.root_digest,
        "title": said["title"], "submitter": said["submitter"], "authors": said["authors"],
        "division": said["division"], "license": said["license"], "created": said["created"],
        "conflicts_of_interest": said["conflicts_of_interest"], "code_available": said["code_available"],
        "statement_of_tuning": said["statement_of_tuning"], "evidence": record.evidence, "refuted": record.refuted,
        "shown": not hidden, "hidden_because": list(hidden),
        "method": shared(typed.LeaderboardSubmissionMethod, record.system["method"]),
        "implementation": record.system["implementation"],
        **_said_by_signature(record, of_root),
        "audits": [_audit(name, a, record.standings[name]) for name, a in record.audits.items()],
        "report_digest": record.report_digest, "findings": _once(found),
        "files": _files(record),
    }


class Said(TypedDict):
    """The fields of a submission that follow from its signed statements."""

    signature: typed.LeaderboardSubmissionSignature
    supersedes: NotRequired[typed.LeaderboardSubmissionSupersedes]
    withdrawal: NotRequired[typed.LeaderboardSubmissionWithdrawal]


def _said_by_signature(record: Record, of_root: Mapping[str, Record]) -> Said:
    """Who signed the submission, what it says to supersede, and whether it is withdrawn."""
    said: Said = {"signature": record.signature.document()}
    if "supersedes" in record.submission:
        root = record.submission["supersedes"]
        earlier = of_root.get(root)
        why = why_not_superseded(record, earlier) if earlier else "there is no record of it here"
        said["supersedes"] = {"root_digest": root, "counts": not why}
        if why:
            said["supersedes"]["why_not"] = why
    if record.withdrawal is not None:
        predicate = record.withdrawal.predicate
        said["withdrawal"] = {"created": predicate["created"], "reason": predicate["reason"],
                              **record.withdrawal.standing.document()}
    return said


def _audit(name: str, predicate: typed.Audit, standing: Standing) -> typed.LeaderboardSubmissionAudit:
    policy, where = predicate["policy"], predicate["environment"]
    return {"file": name, "created": predicate["created"], "verdict": predicate["verdict"], "evidence": predicate["evidence"],
            "sample": policy["sample"], "smallest_share": policy["smallest_share"], "nonce": policy["nonce"],
            "device": where["device"], "precision": where["precision"], "scores": len(predicate["scores"]),
            "largest": max((s["largest"] for s in predicate["scores"]), default=0.0),
            "not_checked": [f"{n['what']}: {n['reason']}" for n in predicate["not_checked"]], **standing.document()}


def _once(findings: Sequence[typed.Finding]) -> list[typed.Finding]:
    """Several audits may say the same."""
    found: list[typed.Finding] = []
    for finding in findings:
        if not any(f["code"] == finding["code"] and f["examples"] == finding["examples"] for f in found):
            found.append(finding)
    return found


def _files(record: Record) -> list[typed.LeaderboardSubmissionFile]:
    """The digests by which everything of the submission is known, the maps among them."""
    said = record.submission
    found: list[typed.LeaderboardSubmissionFile] = [{"path": "submission.json", "digest": record.bundle.root_digest}]
    found += [{"path": d["path"], "digest": d["digest"]} for d in (said["system"], *said["sets"], *said["results"])]
    for described in said["sets"]:
        inside = described["path"].rpartition("/")[0]
        shards = record.bundle.document(described["path"], typed.Set)["shards"]
        found += [{"path": f"{inside}/{s['descriptor']['path']}", "digest": s["descriptor"]["digest"]} for s in shards]
    for document in record.results:
        found += [{"path": d["path"], "digest": d["digest"]} for k in result.FILES if (d := document.get(k)) is not None]
    return found


__all__ = ["board"]
