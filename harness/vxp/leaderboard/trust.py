"""Whose word counts on a board: trust.json beside the records, in the manner of TUF, and what follows from it.

```
trust.json     keys by key id, identities that hold keys, and the roles auditors and submitters
records/...
```

An identity is who a signature is by. A key belongs to one identity, and a name to one identity, so that nobody signs in the
name of another. Without a trust.json nobody is trusted, and everything has evidence E1.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import vxp_schemas
from securesystemslib.signer import SSlibKey
from vxp_schemas import typed

from vxp.bundles import signing
from vxp.bundles.signing import Signed
from vxp.core import VxpError
from vxp.documents import store, undated

FILE = "trust.json"
NONE = f"there is no {FILE} beside the records"
REFUTING = ("differs", "refused")
"""Verdicts of an audit that found something else than the bundle says."""


@dataclass(frozen=True)
class Standing:
    """What the signatures of a statement are worth.

    signed_by: ids of the identities whose signatures fit and are valid. why_not: why the statement does not count; empty
    where it does.
    """

    signed_by: tuple[str, ...] = ()
    why_not: str = "unsigned"

    @property
    def trusted(self) -> bool:
        return not self.why_not

    def document(self) -> typed.LeaderboardSubmissionSignature:
        """The fields that the board has of it."""
        said: typed.LeaderboardSubmissionSignature = {"signed_by": list(self.signed_by), "trusted": self.trusted}
        return said | {"why_not": self.why_not} if self.why_not else said


@dataclass(frozen=True)
class Signers:
    """Who signed a statement, and what is wrong with the other signatures.

    misfits and expired: of keys of trust.json, as texts that name key and identity; unknown: key ids that it does not name.
    """

    identities: tuple[str, ...] = ()
    misfits: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def why_not(self) -> str:
        """Why there is no identity, in words; empty where there is one."""
        if self.identities:
            return ""
        said = [f"the signature of {who} does not fit the statement" for who in self.misfits]
        said += [f"signed after the end of {who}" for who in self.expired]
        said += [f"signed by {who}, which trust.json does not name" for who in self.unknown]
        return "; ".join(said) or "unsigned"


@dataclass(frozen=True)
class Trust:
    """A trust.json that is consistent in itself; `None` as document stands for none at all."""

    document: typed.Trust | None = None
    keys: Mapping[str, SSlibKey] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)

    @property
    def auditors(self) -> frozenset[str]:
        return frozenset(self.document["roles"]["auditors"]["identities"]) if self.document else frozenset()

    @property
    def threshold(self) -> int:
        return int(self.document["roles"]["auditors"]["threshold"]) if self.document else 1

    @property
    def submitters(self) -> frozenset[str] | None:
        """Whose submissions can have more than E1; None for anybody's."""
        named = self.document["roles"].get("submitters") if self.document else None
        return None if named is None else frozenset(named["identities"])

    def name(self, identity: str) -> str:
        return str(self.document["identities"][identity]["name"]) if self.document else ""

    def called(self, name: str) -> str | None:
        """The identity of this name, however it is written; None where there is none."""
        return self._by_name.get(plain_name(name))

    @cached_property
    def _by_name(self) -> dict[str, str]:
        return {plain_name(facts["name"]): i for i, facts in self._identities}

    def signers(self, given: Signed, on: str) -> Signers:
        """Who signed a statement; on: the time, in UTC, against which the end of a key is held."""
        identities, misfits, expired, unknown = [], [], [], []
        for keyid, sig in given.signatures:
            if keyid not in self.keys:
                unknown.append(f"the key {keyid[:12]}")
                continue
            who = f"the key {keyid[:12]} of {self.owners[keyid]}"
            end = self._keys[keyid].get("expires")
            if not signing.fits(given, keyid, sig, self.keys[keyid]):
                misfits.append(who)
            elif end is not None and on > end:
                expired.append(f"{who} ({end})")
            else:
                identities.append(self.owners[keyid])
        if given.bundle is not None:
            known = {(p["issuer"], p["subject"]): i for i, facts in self._identities for p in facts.get("sigstore", ())}
            found = signing.keyless(given, [{"issuer": a, "subject": b} for a, b in known])
            if found is None:
                unknown.append("a keyless identity")
            else:
                identities.append(known[found["issuer"], found["subject"]])
        return Signers(*(tuple(dict.fromkeys(names)) for names in (identities, misfits, expired, unknown)))

    @property
    def _keys(self) -> Mapping[str, typed.TrustKey]:
        return self.document["keys"] if self.document else {}

    @property
    def _identities(self) -> list[tuple[str, typed.TrustIdentity]]:
        return list(self.document["identities"].items()) if self.document else []


def plain_name(name: str) -> str:
    """A name as names are compared: whoever writes his own in capitals or with two spaces is nobody else."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


# ---------------------------------------------------------------------------------------------------------------- reading


def read(records: Path) -> Trust:
    """The trust.json beside a folder of records; an empty one where there is none. VxpError with all its faults."""
    path = beside(records)
    if not path.exists() and not path.is_symlink():
        return Trust()
    document = store.read_document(path, typed.Trust)
    faults = list(_faults(document))
    if faults:
        raise VxpError("\n".join([f"{path} contradicts itself:", *(f"  {fault}" for fault in faults)]))
    keys = {keyid: _key(keyid, facts) for keyid, facts in document["keys"].items()}
    owners = {keyid: i for i, facts in document["identities"].items() for keyid in facts.get("keyids", ())}
    return Trust(document, keys, owners)


def beside(records: Path) -> Path:
    """Where the trust.json of a folder of records is."""
    return records.absolute().parent / FILE


def _key(keyid: str, facts: typed.TrustKey) -> SSlibKey:
    return SSlibKey(keyid, facts["keytype"], facts["scheme"], dict(facts["keyval"]))


def _faults(document: typed.Trust) -> Iterator[str]:
    """What no schema sees: ids of keys that are not theirs, and names that lead nowhere or to two."""
    keys, identities = document["keys"], document["identities"]
    for keyid, facts in keys.items():
        own = signing.keyid(facts["keyval"]["public"])
        if own != keyid:
            yield f"/keys/{keyid}: the id is not of this public key, whose id is {own}"
    held: dict[tuple[str, str], str] = {}
    for identity, who in identities.items():
        if "keyids" not in who and "sigstore" not in who:
            yield f"/identities/{identity}: expected keyids or sigstore, and got neither"
        marks = [("name", plain_name(who["name"]))]
        marks += [("key", keyid) for keyid in who.get("keyids", ())]
        marks += [("keyless identity", f"{p['issuer']} {p['subject']}") for p in who.get("sigstore", ())]
        for what, mark in marks:
            other = held.setdefault((what, mark), identity)
            if other != identity:
                yield f"/identities/{identity}: the {what} {mark!r} is of {other} too, expected one holder"
        for keyid in who.get("keyids", ()):
            if keyid not in keys:
                yield f"/identities/{identity}/keyids: {keyid} is no key of /keys"
    orphans = keys.keys() - {keyid for who in identities.values() for keyid in who.get("keyids", ())}
    yield from (f"/keys/{keyid}: the key belongs to no identity" for keyid in sorted(orphans))
    auditors, submitters = document["roles"]["auditors"], document["roles"].get("submitters")
    named = {"auditors": auditors["identities"], "submitters": submitters["identities"] if submitters else []}
    for role, names in named.items():
        yield from (f"/roles/{role}/identities: {name} is no identity of /identities" for name in names
                    if name not in identities)
    if auditors["identities"] and auditors["threshold"] > len(auditors["identities"]):
        yield (f"/roles/auditors/threshold: got {auditors['threshold']}, expected at most {len(auditors['identities'])}, the "
               "number of auditors")


# ---------------------------------------------------------------------------------------------------------------- writing


@dataclass(frozen=True)
class Named:
    """Somebody to be named: an id, the name, roles (`auditor`, `submitter`), and when the key expires."""

    identity: str
    name: str
    roles: tuple[str, ...] = ()
    expires: str | None = None


def add(records: Path, key: Path, who: Named) -> Path:
    """Name a public key in the trust.json beside a folder of records, which is begun where there is none; its path.

    The identity gets the key beside those that it has. VxpError where that contradicts what is there; then nothing changes.
    """
    document = read(records).document or undated(typed.Trust) | {
        "keys": {}, "identities": {}, "roles": {"auditors": {"identities": [], "threshold": 1}}}
    public = signing.public_key(key)
    identity, name = who.identity, who.name
    facts = document["identities"].setdefault(identity, {"name": name})
    if facts["name"] != name:
        raise VxpError(f"{identity} has the name {facts['name']!r} in {beside(records)}, got --name {name!r}: choose another "
                       "id for another name")
    document["keys"][public.keyid] = _named(public, who.expires)
    facts["keyids"] = sorted({*facts.get("keyids", ()), public.keyid})
    for role in who.roles:
        named = _role(document["roles"], role)
        named["identities"] = sorted({*named["identities"], identity})
    faults = list(_faults(document)) if _valid(document, beside(records)) else []
    if faults:
        raise VxpError("\n".join([f"{beside(records)} would contradict itself:", *(f"  {fault}" for fault in faults)]))
    store.write_document(beside(records), document)
    return beside(records)


def _named(key: SSlibKey, expires: str | None) -> typed.TrustKey:
    facts: typed.TrustKey = {"keytype": key.keytype, "scheme": key.scheme, "keyval": {"public": key.keyval["public"]}}
    return facts | {"expires": expires} if expires else facts


def _role(roles: typed.TrustRoles, role: str) -> typed.TrustRolesAuditors | typed.TrustRolesSubmitters:
    return roles["auditors"] if role == "auditor" else roles.setdefault("submitters", {"identities": []})


def _valid(document: typed.Trust, path: Path) -> bool:
    try:
        vxp_schemas.validate(document)
    except vxp_schemas.SchemaError as error:
        raise VxpError(f"{path} would be invalid: {error}") from None
    return True


# -------------------------------------------------------------------------------------------------------- what they are worth


def of_submission(trust: Trust, given: Signed | None, on: str, submitter: str) -> Standing:
    """A submitter's signature or withdrawal counts if it is by the identity whose name is the submission's submitter."""
    if trust.document is None:
        return Standing(why_not=NONE)
    if given is None:
        return Standing()
    signers = trust.signers(given, on)
    own = tuple(i for i in signers.identities if i == trust.called(submitter))
    if not signers.identities or own:
        return Standing(own, signers.why_not)
    named = " and ".join(f"{i} ({trust.name(i)})" for i in signers.identities)
    return Standing(signers.identities, f"signed by {named}, not by {submitter}, the submitter")


def of_audits(
    trust: Trust, audits: Mapping[str, tuple[Signed, typed.Audit]], submission: Standing, submitter: str
) -> dict[str, Standing]:
    """What the audits of a record are worth, by file. An audit counts if

    - as many auditors signed it as trust.json asks for; one is enough for an audit that differs;
    - none of those is the submitter, or signed the submission;
    - no other audit, by the same auditors at least, names it as the one that it replaces.

    audits: by file the statement with its signatures, and its predicate. submission: the standing of its signature.
    submitter: the submitter's name.
    """
    signers = {file: trust.signers(given, predicate["created"]) for file, (given, predicate) in audits.items()}
    # of one statement there may be an envelope and keyless bundles
    together: dict[str, list[str]] = {}
    for file, (given, _) in audits.items():
        together.setdefault(given.digest, []).extend(signers[file].identities)
    found = {}
    for file, (given, predicate) in audits.items():
        own = tuple(dict.fromkeys(together[given.digest]))
        apart = [i for i in own if i in trust.auditors and i not in submission.signed_by and i != trust.called(submitter)]
        why = _why_not(trust, own, apart, predicate, submission) if own or trust.document is None else signers[file].why_not
        found[file] = Standing(own, why)
    return {file: _withdrawn(trust, file, audits, found) or standing for file, standing in found.items()}


def _why_not(
    trust: Trust, signed_by: Sequence[str], apart: Sequence[str], predicate: typed.Audit, submission: Standing
) -> str:
    """apart: the auditors among those who signed, without whoever submitted."""
    if trust.document is None:
        return NONE
    if not trust.auditors.intersection(signed_by):
        return f"signed by {' and '.join(signed_by)}, no auditor of {FILE}"
    if not apart:
        return f"signed by {' and '.join(signed_by)}, who submitted"
    if predicate["verdict"] in REFUTING:
        return ""
    if len(apart) < trust.threshold:
        return f"signed by {len(apart)} of {trust.threshold} auditors that {FILE} asks for"
    if trust.submitters is not None and not (submission.trusted and trust.submitters.intersection(submission.signed_by)):
        return f"the submission is not signed by a submitter of {FILE}"
    return ""


def _withdrawn(
    trust: Trust, file: str, audits: Mapping[str, tuple[Signed, typed.Audit]], found: Mapping[str, Standing]
) -> Standing | None:
    """The standing of an audit that its own auditors took back; None where nobody did."""
    digest, auditors = audits[file][0].digest, trust.auditors.intersection(found[file].signed_by)
    for later, (_, predicate) in audits.items():
        if (found[file].trusted and found[later].trusted and predicate.get("replaces") == digest
                and auditors <= set(found[later].signed_by)):
            return Standing(found[file].signed_by, f"withdrawn by its auditor with {later}")
    return None


__all__ = ["FILE", "REFUTING", "Signers", "Standing", "Trust", "add", "beside", "of_audits", "of_submission", "read"]
