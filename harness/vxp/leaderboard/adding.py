"""Add a bundle to the records, and statements about it: checked first, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vxp_schemas import typed

from vxp import documents, validation
from vxp.bundles import Bundle, open_bundle, signing
from vxp.bundles.signing import Signed
from vxp.core import VxpError
from vxp.documents import store
from vxp.documents.findings import Findings
from vxp.leaderboard import references
from vxp.leaderboard import trust as trusting
from vxp.leaderboard.records import AUDITS, BUNDLE, REPORT, SIGNATURE, WITHDRAWAL, Record, held, irregular, own
from vxp.leaderboard.trust import Standing, Trust
from vxp.report import compare


def add(
    bundle: Path, folder: Path, audits: Sequence[Path] = (), *, signature: Path | None = None, withdrawal: Path | None = None
) -> tuple[Path | None, validation.Report, Findings]:
    """Write the record of a bundle, or add statements to the one that is there; its folder, the validation, and what is wrong
    with the statements. Nothing is written, and the folder is None, unless the bundle has no errors, the statements are
    about it, and no signature of a key of trust.json is broken or too late.

    bundle: a whole bundle, or the copy `bundle` of a record in `folder`, to which statements are added. A report that is
    there and says something else gives way to that of a whole bundle: whoever adds it has validated the whole bundle too.
    """
    own = _is_record(bundle, folder)
    [(_, report)] = validation.all_apart([bundle], "consistency", record=own)
    findings = Findings()
    if report.exit_code != 0:
        return None, report, findings
    whole = open_bundle(bundle)
    if whole.root_digest != report.root_digest:
        raise VxpError(f"{bundle} changed while it was checked: copy it to a place where nobody writes, and add it from there")
    target = bundle.absolute().parent if own else folder / f"{whole.submission['submission_id']}-{whole.root_digest[7:19]}"
    given = _Given(trusting.read(folder), whole, target, findings)
    given.take(audits, signature, withdrawal)
    references.check(compare.of_bundle(whole, references=False), references.read_all(folder), findings)
    if findings.errors:
        return None, report, findings
    if target.exists() and (there := open_bundle(target / BUNDLE).root_digest) != whole.root_digest:
        findings.add("VXP-I007", "", f"the record {target.name}", there, f"{whole.root_digest}, the root digest of the bundle",
                     fix="Seal it again under another submission_id: a record's name has 12 digits of the digest only.")
        return None, report, findings
    if not target.exists():
        _write(whole, report, target)
    elif not own and not _says(target / REPORT, report):
        store.write_document(target / REPORT, report.document())
    given.store()
    return target, report, findings


def attach(
    record: Record, trust: Trust, audits: Sequence[Path] = (), *, signature: Path | None = None, withdrawal: Path | None = None
) -> Findings:
    """Add statements to a record that `read_all` gave, whose bundle is therefore not checked again; what is wrong with them,
    and where that is an error nothing is written."""
    given = _Given(trust, record.bundle, record.folder, Findings())
    given.take(audits, signature, withdrawal)
    if not given.findings.errors:
        given.store()
    return given.findings


def _is_record(bundle: Path, folder: Path) -> bool:
    return bundle.name == BUNDLE and bundle.absolute().parent.parent.resolve() == folder.resolve()


@dataclass(eq=False)
class _Given:
    """Statements that somebody wants to add to the record of a bundle in the folder `target`."""

    trust: Trust
    bundle: Bundle
    target: Path
    findings: Findings
    audits: Sequence[Signed] = ()
    signature: Signed | None = None
    withdrawal: Signed | None = None

    def take(self, audits: Sequence[Path], signature: Path | None, withdrawal: Path | None) -> None:
        """Read and check all; what is wrong is a finding."""
        self.audits = [self._checked(path, signing.AUDIT) for path in audits]
        signed = self._checked(signature, signing.SIGNATURE) if signature else None
        self.withdrawal = self._checked(withdrawal, signing.WITHDRAWAL) if withdrawal else None
        if self.target.exists() or self.target.is_symlink():
            irregular(self.target, self.findings)  # a pull request may have brought it, with links that lead elsewhere
        if not self.findings.errors:
            self.signature = _better(self.trust, signed, self.target / SIGNATURE, self.bundle)
            self._withdrawn_by_its_signer(str(withdrawal))

    def store(self) -> None:
        """Write them into the record, which is there by now."""
        for statement in self.audits:
            _keep(self.target / AUDITS / signing.name(statement), statement)
        for name, kept in ((SIGNATURE, self.signature), (WITHDRAWAL, self.withdrawal)):
            if kept is not None:
                store.write_bytes(self.target / name, kept.stored)

    def _checked(self, path: Path, kind: str) -> Signed:
        """A statement about this bundle, by keys that are valid today: a signature may not be dated back to when they were."""
        given = signing.read(path)
        said = signing.statement(given.payload, kind, path)
        own(self.bundle, said, str(path), self.findings)
        signers = self.trust.signers(given, max(documents.now(), said["predicate"]["created"]))
        for who in signers.misfits:
            self.findings.add("VXP-I008", str(path), "", f"a signature by {who} that does not fit", "one over this statement")
        for who in signers.expired:
            self.findings.add("VXP-I009", str(path), "", f"a signature by {who}", "one by a key that has not expired")
        return given

    def _withdrawn_by_its_signer(self, file: str) -> None:
        if self.withdrawal is None:
            return
        there = _standing(self.trust, self.signature, signing.SIGNATURE, self.bundle)
        taken = _standing(self.trust, self.withdrawal, signing.WITHDRAWAL, self.bundle)
        if not there.trusted or not taken.trusted:
            why = f"the withdrawal: {taken.why_not}" if there.trusted else f"the submission: {there.why_not}"
            self.findings.add("VXP-I010", file, "", why, "submission and withdrawal signed by "
                              f"{self.bundle.submission['submitter']['name']} with a key of {trusting.FILE}")


def _standing(trust: Trust, given: Signed | None, kind: str, bundle: Bundle) -> Standing:
    """What a submitter's statement is worth."""
    said = None if given is None else (given, signing.statement(given.payload, kind, bundle.root)["predicate"])
    return held(trust, said, bundle)


def _better(trust: Trust, signed: Signed | None, there: Path, bundle: Bundle) -> Signed | None:
    """The signature to keep: a trusted one that is there does not give way to one that is not."""
    stored = signing.read(there) if there.exists() else None
    if signed is None or stored is None:
        return signed or stored
    new, old = (_standing(trust, s, signing.SIGNATURE, bundle).trusted for s in (signed, stored))
    return stored if old and not new else signed


def _keep(path: Path, statement: Signed) -> None:
    """Store an audit; where its statement is there already, with the signatures of both: none is ever lost."""
    if path.exists() and statement.bundle is None:
        statement = signing.read(path).joined(statement)
    store.write_bytes(path, statement.stored)


def _says(file: Path, report: validation.Report) -> bool:
    """Whether a stored report is this one, but for when and by which program it was written."""
    try:
        there, here = store.read_document(file, typed.Report), report.document()
    except (VxpError, OSError):
        return False
    return all(there.get(k) == here.get(k) for k in {*there, *here} - {"created", "generator", "bundle"})


def _write(whole: Bundle, report: validation.Report, target: Path) -> None:
    """All of the record beside its place first, then one rename."""
    left_out = set()
    for described in whole.submission["sets"]:
        inside = described["path"].rpartition("/")[0]
        left_out |= {f"{inside}/{s['descriptor']['path']}" for s in whole.document(described["path"], typed.Set)["shards"]}
    for described in whole.submission["results"]:
        document = whole.document(described["path"], typed.Result)
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
