"""`python docs/leaderboard/sign.py KEYS`: signs the records of this board that are not signed yet.

KEYS is a folder outside of the repository with `submitter.pem` and `auditor.pem`; what is missing there is made, and named in
trust.json. Submissions and audits that count already are left as they are, so that the command can be repeated.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from vxp.bundles import signing
from vxp.leaderboard import adding, records, trust

HERE = Path(__file__).resolve().parent
RECORDS = HERE / "records"
NAMES = {"submitter": "VXP reference explainers", "auditor": "VXP reference audits"}
"""The submitter's is that of submission.json."""


def named(keys: Path) -> None:
    """Both keys are there, and trust.json names them."""
    for role, name in NAMES.items():
        private, public = keys / f"{role}.pem", keys / f"{role}.pub.pem"
        if not private.exists():
            signing.new_key(keys / role)
        if signing.public_key(public).keyid not in trust.read(RECORDS).keys:
            trust.add(RECORDS, public, trust.Named(f"reference-{role}", name, (role,)))


def signed(record: records.Record, keys: Path) -> bool:
    """Add the signatures that a record lacks; whether it lacked any."""
    bundle = record.folder / records.BUNDLE
    with tempfile.TemporaryDirectory() as folder:
        signature = None
        if not record.signature.trusted:
            signature, _ = signing.main(bundle, keys / "submitter.pem", Path(folder) / "signature.json")
        # an audit that its auditor withdrew is signed already
        missing = [file for file, standing in record.standings.items() if not standing.signed_by]
        audits = [signing.main(record.folder / records.AUDITS / file, keys / "auditor.pem", Path(folder) / file)[0]
                  for file in missing]
        if signature is None and not audits:
            return False
        findings = adding.attach(record, trust.read(RECORDS), audits, signature=signature)
    if findings.errors:
        raise SystemExit(f"{record.name} was not signed: {'; '.join(map(str, findings.all))}")
    return True


def main(keys: Path) -> None:
    if HERE.parents[1] in (keys.resolve(), *keys.resolve().parents):
        raise SystemExit(f"{keys} is inside the repository: private keys belong elsewhere")
    named(keys)
    found, wrong = records.read_all(RECORDS)
    if wrong:
        raise SystemExit(f"records with errors, which vxp leaderboard build says: {', '.join(wrong)}")
    print(f"signed {sum(signed(record, keys) for record in found)} of {len(found)} records")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python docs/leaderboard/sign.py KEYS")
    main(Path(sys.argv[1]))
