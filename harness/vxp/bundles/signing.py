"""Signed statements: DSSE envelopes over in-toto Statements v1, with ed25519 keys in files or keyless by Sigstore.

A statement says something about one bundle, its subject, which it names by the root digest (12.1.2). Three kinds are signed:
an audit (12.6), a signature, by which a submitter answers for a bundle, and a withdrawal, by which the submitter takes it
back. What a signature is worth is for trust.json to say (`vxp.leaderboard.trust`); here it is only whose key it fits.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import vxp_schemas
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey
from vxp_schemas import typed

from vxp import documents
from vxp.bundles import open_bundle
from vxp.documents import store
from vxp.errors import VxpError

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
AUDIT, SIGNATURE, WITHDRAWAL = (documents.TYPE.format(kind) for kind in ("audit", "signature", "withdrawal"))
KINDS = {AUDIT: "audit of vxp verify", SIGNATURE: "signature of vxp sign", WITHDRAWAL: "withdrawal of vxp sign --withdraw"}
"""What a predicate type is called in messages."""
MAX_SIGNATURES = 16
SIGSTORE = "application/vnd.dev.sigstore.bundle"
SUFFIX = ".dsse.json"


class Subject(TypedDict):
    """What a statement is about: a name, and the SHA-256 of its bytes."""

    name: NotRequired[str]
    digest: Mapping[str, str]


class Statement(TypedDict):
    """An in-toto Statement v1 about one bundle; its predicate is a document of the standard."""

    _type: str
    subject: list[Subject]
    predicateType: str
    predicate: Any


@dataclass(frozen=True)
class Signed:
    """The bytes of a statement, and the signatures over them.

    signatures: pairs of a key id and a signature in hexadecimal digits. bundle: the Sigstore bundle that the statement
    came in, which has its signature and certificate; None where there is none.
    """

    payload: bytes
    signatures: tuple[tuple[str, str], ...] = ()
    bundle: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the statement's bytes, whoever signed them: the statement's name."""
        return store.digest(self.payload)

    @property
    def stored(self) -> bytes:
        """The file of it: the statement alone where nobody signed, an envelope, or the Sigstore bundle."""
        if self.bundle is not None:
            return documents.plain_json(self.bundle)
        if not self.signatures:
            return self.payload
        return documents.plain_json({
            "payload": base64.b64encode(self.payload).decode(), "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": keyid, "sig": base64.b64encode(bytes.fromhex(sig)).decode()}
                           for keyid, sig in self.signatures]})

    @property
    def signed_bytes(self) -> bytes:
        """What is signed: DSSE's pre-authentication encoding of payload type and payload."""
        return Envelope(self.payload, PAYLOAD_TYPE, {}).pae()

    def joined(self, other: Signed) -> Signed:
        """An envelope with the signatures of two over the same bytes; VxpError where they are too many."""
        both = tuple(dict.fromkeys((*self.signatures, *other.signatures)))
        if len(both) > MAX_SIGNATURES:
            raise VxpError(f"the statement {self.digest} would have {len(both)} signatures; expected at most {MAX_SIGNATURES}")
        return replace(self, signatures=both)


# ------------------------------------------------------------------------------------------------------------------- keys


def new_key(name: Path) -> tuple[Path, Path, str]:
    """Write a new ed25519 key pair: NAME.pem, the private key (PKCS8, readable by its owner only), and NAME.pub.pem. Their
    paths and the key id. VxpError where one of the files is there already."""
    private, public = name.with_name(f"{name.name}.pem"), name.with_name(f"{name.name}.pub.pem")
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise VxpError(f"{path} exists, and a key is never overwritten: choose another name")
    key = Ed25519PrivateKey.generate()
    with store.whole(private):
        private.parent.mkdir(parents=True, exist_ok=True)
        for path, mode, data in (
                (private, 0o600, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
                (public, 0o644, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
    return private, public, SSlibKey.from_crypto(key.public_key()).keyid


def private_key(path: Path) -> CryptoSigner:
    """The signer of a private key in a PEM file; VxpError for anything but an ed25519 key without a password."""
    try:
        key = load_pem_private_key(store.read_file(path), None)
    except FileNotFoundError:
        raise VxpError(f"{path} does not exist: expected a private key; vxp sign --new-key NAME writes one") from None
    except TypeError:
        raise VxpError(f"{path} has a password, and nothing here asks for one: decrypt it with openssl pkey -in {path} "
                       "-out FILE and use that") from None
    except (ValueError, UnsupportedAlgorithm):
        raise VxpError(f"{path} holds no private key: expected an ed25519 key in PEM, such as vxp sign --new-key NAME "
                       "writes") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise VxpError(f"{path} holds a {type(key).__name__}; expected an ed25519 key, such as vxp sign --new-key NAME writes")
    return CryptoSigner(key)


def public_key(path: Path) -> SSlibKey:
    """A public key in a PEM file; VxpError for anything but an ed25519 key."""
    try:
        key = load_pem_public_key(store.read_file(path))
    except FileNotFoundError:
        raise VxpError(f"{path} does not exist: expected the NAME.pub.pem that vxp sign --new-key NAME writes") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise VxpError(f"{path} holds no public ed25519 key in PEM: expected the NAME.pub.pem that vxp sign --new-key NAME "
                       "writes")
    return SSlibKey.from_crypto(key)


def keyid(public: str) -> str:
    """The id of a public key, given as 64 hexadecimal digits: the SHA-256 of its canonical JSON, as TUF has it."""
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))).keyid


# ---------------------------------------------------------------------------------------------------------------- reading


def read(path: Path) -> Signed:
    """A statement with its signatures from a file: a bare statement, a DSSE envelope, or a Sigstore bundle with one.
    VxpError for anything else; no signature is checked here."""
    try:
        data = store.read_file(path)
        document = vxp_schemas.loads(data)
    except FileNotFoundError:
        raise VxpError(f"{path} does not exist: expected a statement that vxp verify or vxp sign wrote") from None
    except (OSError, vxp_schemas.SchemaError) as error:
        raise VxpError(f"{path} is no statement: {' '.join(str(error).split())[:300]}") from None
    if isinstance(document, dict) and "payload" in document:
        return _envelope(document, path)
    if isinstance(document, dict) and str(document.get("mediaType")).startswith(SIGSTORE):
        return replace(_envelope(document.get("dsseEnvelope"), path, keyless=True), bundle=document)
    return Signed(data)


def _envelope(document: Any, path: Path, *, keyless: bool = False) -> Signed:
    expected = f"a DSSE envelope of {PAYLOAD_TYPE} with 1 to {MAX_SIGNATURES} signatures"
    try:
        if document["payloadType"] != PAYLOAD_TYPE or not 1 <= len(document["signatures"]) <= MAX_SIGNATURES:
            raise VxpError(f"{path}: got the type {document['payloadType']!r} and {len(document['signatures'])} signatures, "
                           f"expected {expected}")
        payload = base64.b64decode(document["payload"], validate=True)
        signatures = () if keyless else tuple((_keyid(s["keyid"]), base64.b64decode(s["sig"], validate=True).hex())
                                              for s in document["signatures"])
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise VxpError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())[:200]}; expected {expected}") from None
    return Signed(payload, signatures)


def _keyid(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise ValueError("a keyid is text of at most 200 characters")
    return value


def statement(payload: bytes, kind: str, path: Path) -> Statement:
    """The in-toto statement of these bytes: one subject by its SHA-256, the predicate type `kind`, and as predicate a valid
    document of that type. VxpError, which names the file, for anything else."""
    try:
        said = vxp_schemas.loads(payload)
        if not isinstance(said, dict) or (said.get("_type"), said.get("predicateType")) != (STATEMENT, kind):
            raise VxpError(f"{path}: expected an in-toto Statement v1 with the {KINDS[kind]}")
        vxp_schemas.validate(said["predicate"])
        [subject] = said["subject"]
        if (set(said) != {"_type", "subject", "predicateType", "predicate"} or said["predicate"]["type"] != kind
                or not isinstance(subject["digest"]["sha256"], str)):
            raise VxpError(f"{path}: expected one subject with a SHA-256, the predicate {kind}, and no other fields")
    except (vxp_schemas.SchemaError, KeyError, TypeError, ValueError) as error:
        raise VxpError(f"{path} is no {KINDS[kind]}: {' '.join(str(error).split())[:300]}") from None
    return cast(Statement, said)


def subject(said: Statement) -> str:
    """The root digest that a statement is about."""
    return f"sha256:{said['subject'][0]['digest']['sha256']}"


# ---------------------------------------------------------------------------------------------------------------- signing


def of_bundle(path: Path, *, reason: str | None = None) -> bytes:
    """The bytes of a submitter's statement about a bundle: a signature, or with a reason a withdrawal. Of the bundle only
    submission.json is needed, so that a record's folder does too."""
    bundle = open_bundle(path)
    root = bundle.submission
    predicate: typed.Signature | typed.Withdrawal
    if reason is None:
        predicate = documents.header(typed.Signature) | {"submission_id": root["submission_id"], "submitter": root["submitter"]}
        if "supersedes" in root:
            predicate["supersedes"] = root["supersedes"]
    else:
        predicate = documents.header(typed.Withdrawal) | {"submission_id": root["submission_id"], "reason": reason}
    try:
        vxp_schemas.validate(predicate)
    except vxp_schemas.SchemaError as error:
        raise VxpError(f"{path} cannot be signed: {error}") from None
    return documents.plain_json({
        "_type": STATEMENT, "subject": [{"name": root["submission_id"],
                                         "digest": {"sha256": bundle.root_digest.removeprefix("sha256:")}}],
        "predicateType": predicate["type"], "predicate": predicate})


def of_audit(path: Path, replaces: Path | None = None) -> Signed:
    """An audit to sign, with the signatures that it has. replaces: an earlier audit of the same bundle, which this one
    withdraws: its digest becomes part of the statement, so that earlier signatures no longer fit and are left out."""
    given = read(path)
    said = statement(given.payload, AUDIT, path)
    if replaces is None:
        return given
    earlier = read(replaces)
    before = statement(earlier.payload, AUDIT, replaces)
    if subject(before) != subject(said):
        raise VxpError(f"{replaces} is an audit of {subject(before)}, expected one of {subject(said)}, as {path} is")
    if earlier.digest == given.digest:
        raise VxpError(f"{replaces} is the audit {path} itself; expected an earlier one, which is to be withdrawn")
    said["predicate"]["replaces"] = earlier.digest
    return Signed(documents.plain_json(said))


def signed(given: Signed, key: CryptoSigner) -> Signed:
    """The statement with one more signature; the same key signs once."""
    if given.bundle is not None:
        raise VxpError("the statement came in a Sigstore bundle, which has its own signature: sign the bare statement instead")
    made = key.sign(given.signed_bytes)
    others = tuple(s for s in given.signatures if s[0] != made.keyid)
    return replace(given, signatures=others).joined(Signed(given.payload, ((made.keyid, made.signature),)))


def main(
    path: Path, key: Path, out: Path | None = None, *, replaces: Path | None = None, reason: str | None = None
) -> tuple[Path, str]:
    """Sign a bundle (a folder or .tar) or an audit (.json) and write the envelope; its path, and what it says in words.

    out: by default BUNDLE.dsse.json, BUNDLE.withdrawal.dsse.json or AUDIT.dsse.json, and an envelope is signed in its place.
    """
    if not path.exists():
        raise VxpError(f"{path} does not exist: expected a bundle that vxp seal wrote, or an audit that vxp verify wrote")
    signer = private_key(key)
    if path.suffix == ".json":
        if reason is not None:
            raise VxpError(f"--withdraw takes a bundle back, got the audit {path}; an audit is withdrawn by a later one with "
                           "--replaces")
        given = of_audit(path, replaces)
        target, said = path.with_name(path.name.removesuffix(SUFFIX).removesuffix(".json") + SUFFIX), "the audit of"
    else:
        if replaces is not None:
            raise VxpError(f"--replaces goes with an audit, got the bundle {path}; a bundle names what it replaces as "
                           "supersedes in submission.json")
        given = Signed(of_bundle(path, reason=reason))
        target = store.beside(path, f"{'' if reason is None else '.withdrawal'}{SUFFIX}")
        said = "the submission of" if reason is None else "the withdrawal of"
    target = out or target
    store.outside(path, target)
    store.write_bytes(target, signed(given, signer).stored)
    return target, f"{said} {subject(vxp_schemas.loads(given.payload))} by the key {signer.public_key.keyid[:12]}"


def fits(given: Signed, keyid: str, sig: str, key: SSlibKey) -> bool:
    """Whether a signature over the statement is by this key."""
    try:
        key.verify_signature(Signature(keyid, sig), given.signed_bytes)
    except UnverifiedSignatureError:
        return False
    return True


def keyless(given: Signed, wanted: Sequence[Mapping[str, str]]) -> Mapping[str, str] | None:
    """Which of these identities, each an issuer and a subject, signed the Sigstore bundle of a statement; None for none.

    Checks certificate, log entry and signature with sigstore-python, against the root of trust that it has on this machine
    and without the network. VxpError where the package is missing: without it nobody knows who signed.
    """
    if given.bundle is None or not wanted:
        return None
    try:
        from sigstore.errors import Error
        from sigstore.models import Bundle, InvalidBundle
        from sigstore.verify import Verifier, policy
    except ImportError:
        raise VxpError("a statement is signed keyless, which sigstore-python has to check: pip install "
                       "'vxp[sigstore]'") from None
    try:
        bundle = Bundle.from_json(json.dumps(given.bundle))
    except (InvalidBundle, ValueError):
        return None
    verifier = Verifier.production(offline=True)
    for identity in wanted:
        try:
            found = verifier.verify_dsse(bundle, policy.Identity(identity=identity["subject"], issuer=identity["issuer"]))
        except (Error, ValueError):
            continue
        if found == (PAYLOAD_TYPE, given.payload):
            return identity
    return None


def name(given: Signed) -> str:
    """The name of a statement's file in a record, by the first 12 digits of a SHA-256: of the statement's bytes, so that all
    envelopes of it are one file; of a Sigstore bundle, which has one signature, of the bundle's."""
    data, suffix = (given.payload, ".json") if given.bundle is None else (given.stored, ".sigstore.json")
    return f"{hashlib.sha256(data).hexdigest()[:12]}{suffix}"


__all__ = ["AUDIT", "MAX_SIGNATURES", "PAYLOAD_TYPE", "SIGNATURE", "STATEMENT", "SUFFIX", "WITHDRAWAL", "Signed", "fits",
           "keyid", "keyless", "main", "name", "new_key", "of_audit", "of_bundle", "private_key", "public_key", "read",
           "signed", "statement", "subject"]
