"""`vxp verify`: scores of a bundle computed again on a sample that the submitter could not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import vxp_schemas
from rich.console import Console
from rich.text import Text
from vxp_schemas import typed

from vxp.audit import apart, nonces
from vxp.audit.again import ALL_MINUTES, SAMPLE, Audit, Order, verify
from vxp.bundles import signing
from vxp.core import VxpError
from vxp.documents import store
from vxp.documents.findings import plain
from vxp.runs import result
from vxp.runs.context import Progress
from vxp.validation import report

STATEMENT, PREDICATE = signing.STATEMENT, signing.AUDIT
SAID = {
    "reproduced": "reproduced: everything that was computed again agrees",
    "differs": "differs: what was computed again is not what the bundle says",
    "refused": "refused: the bundle is invalid (see vxp validate)",
    "incomplete": "incomplete: what was not checked is needed for a verdict",
}

SOURCES = {
    "auditor": "chosen by the auditor", "commitment": "committed to before the bundle was sealed",
    "beacon": "of a public beacon, whose signature is not checked here",
}
"""Where a nonce comes from, in words."""


def commit(console: Console, target: Path) -> int:
    """Write a commitment and its opening, and say what to do with them; returns the exit code."""
    digest, opening = nonces.commit(target)
    for line in (f"Commitment {digest}", f"Publish {plain(str(target))} now, before the bundle to be audited is sealed.",
                 f"Keep {plain(str(opening))} to yourself until then: vxp verify BUNDLE --opening {plain(str(opening))}"):
        console.print(Text(line), soft_wrap=True)
    return 0


def main(console: Console, path: Path, order: Order, out: Path | None, progress: Progress) -> int:
    """Audit, print, and write the statement beside the bundle; returns the exit code."""
    if not path.exists():
        raise VxpError(f"{path} does not exist: expected a folder or tar that vxp seal wrote")
    target = out or store.beside(path, ".audit.json")
    store.outside(path, target)
    audit = verify(path, order, progress)
    write(audit, target)
    name = path.absolute().name
    show(console, audit, name)
    console.print(Text(f"Statement: {plain(str(target))}"), soft_wrap=True)
    console.print(Text(f"{plain(name)}: {SAID[audit.verdict]}; evidence {audit.evidence}"), soft_wrap=True)
    return audit.exit_code


def recomputed(found: report.Report, path: Path, order: Order, progress: Progress) -> report.Report:
    """A validation with its last level, recompute: what an audit finds, and as checks that did not run what it left out."""
    if found.stopped or found.of("error"):
        return replace(found, level="recompute", checks=[*found.checks[:-1], {
            "check": "recompute", "ran": False, "reason": "the bundle has errors before it"}])
    audit = verify(path, order, progress)
    left: list[typed.ReportCheck] = [{"check": n["what"], "ran": False, "reason": n["reason"]} for n in audit.not_checked]
    checks = [c for c in found.checks if c["check"] != "recompute"]
    ran: typed.ReportCheck = {"check": "recompute", "ran": True} if audit.scores else {
        "check": "recompute", "ran": False, "reason": "nothing could be computed again: vxp verify has the options for it"}
    return replace(found, level="recompute", checks=[*checks, ran, *left], evidence=max(found.evidence, audit.evidence),
                   findings=[*(f.document() for f in audit.findings.errors), *found.findings,
                             *(f.document() for f in audit.findings.all if f.rule.severity != "error")])


def statement(audit: Audit) -> signing.Statement:
    """The in-toto Statement whose subject is the bundle."""
    return {
        "_type": STATEMENT,
        "subject": [{"name": audit.submission_id, "digest": {"sha256": audit.root_digest.removeprefix("sha256:")}}],
        "predicateType": PREDICATE, "predicate": audit.predicate(),
    }


def write(audit: Audit, target: Path) -> None:
    """Write the statement; its predicate is a document of the standard."""
    said = statement(audit)
    vxp_schemas.validate(said["predicate"])
    store.write_bytes(target, result.plain_json(said))


def read(path: Path) -> signing.Statement:
    """A statement that `write` could have written, alone or in an envelope; VxpError for anything else."""
    return signing.statement(signing.read(path).payload, PREDICATE, path)


def show(console: Console, audit: Audit, name: str) -> None:
    """Findings, what was computed again score by score, and what was not checked."""
    found = audit.refused if audit.refused is not None else [f.document() for f in audit.findings.all]
    report.show_findings(console, found)
    lines = [f"{'beyond ' if s['beyond'] else 'agrees '} {s['signature']}: {s['n']} items, largest difference "
             f"{s['largest']:.2g} (tolerance {s['tolerance']:g}), mean {s['bias']:+.2g} (limit {s['bias_limit']:.2g}); here "
             f"{_figures(s['recomputed'])}" for s in audit.scores]
    for maps in audit.maps:
        same = "the system of the bundle" if maps["same_system"] else "not by the system document of the bundle"
        lines.append(f"isolated {maps['explainer']} ran {apart.ISOLATIONS[maps['isolation']]}")
        lines.append(f"maps     {maps['n']} made again by {maps['explainer']}, {same}: largest difference "
                     f"{maps['largest']:.2g} of the range, rank correlation at least {maps['spearman']:.4f}")
    lines += [f"not checked  {left['what']}: {left['reason']}" for left in audit.not_checked]
    if audit.scores:
        nonce = audit.order.nonce
        sample = "all items" if audit.order.sample is None else (
            f"{audit.order.sample} items of a set, nonce {nonce.digits} ({SOURCES[nonce.source]})")
        lines.append(f"drawn    {sample}: a change of {audit.smallest_share:.1%} of a set's items is found with probability "
                     "0.95")
        if audit.minutes is not None:
            lines.append(f"         the results say that all items took {audit.minutes:.1f} minutes: all are taken up to "
                         f"{audit.order.all_within:g}, unless --sample says how many")
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _figures(found: typed.AuditScoreRecomputed) -> str:
    """The number of a score that was computed again, of a whole set with its interval."""
    if "mean" not in found:
        return "without a number"
    interval = f" [{found['ci']['lo']:.4f}, {found['ci']['hi']:.4f}]" if "ci" in found else ""
    items = "all" if found["whole"] else f"these {found['n']}"
    return f"{found['mean']:.4f}{interval} of {items} items"


__all__ = ["ALL_MINUTES", "SAMPLE", "Audit", "Order", "commit", "main", "nonces", "read", "recomputed", "show", "statement",
           "verify", "write"]
