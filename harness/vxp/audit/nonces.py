"""Where the nonce of a draw comes from. An auditor who may choose it can try nonces until the draw misses what was changed;
a commitment and a public beacon leave no choice once the root digest is known (12.6.1)."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import vxp_schemas
from vxp_schemas import typed

from vxp import documents
from vxp.core import VxpError
from vxp.documents import store
from vxp.runs import result

Source = Literal["auditor", "commitment", "beacon"]
QUICKNET = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"
"""Hash of the chain of drand that is the beacon."""
GENESIS = datetime(2023, 8, 23, 15, 9, 27, tzinfo=UTC)
"""When its first round was due."""
PERIOD = timedelta(seconds=3)
DELAY = timedelta(days=1)
"""From the sealing of a bundle to its round: within it the root digest has to be published."""


class Origin(TypedDict):
    """The fields of a statement's policy that say where its nonce comes from."""

    nonce: str
    source: NotRequired[Literal["auditor", "commitment", "beacon", "all"]]
    commitment: NotRequired[typed.AuditPolicyCommitment]
    beacon: NotRequired[typed.AuditPolicyBeacon]


class Drawn(Origin):
    """Those that say how items were drawn; of each set so many, or all."""

    sample: int | None


@dataclass(frozen=True)
class Nonce:
    """What the draw depends on besides the root digest, hexadecimal digits in lower case, and why it was not chosen to fit."""

    digits: str
    source: Source = "auditor"
    commitment: typed.AuditPolicyCommitment | None = None
    beacon: typed.AuditPolicyBeacon | None = None

    def policy(self) -> Origin:
        """The fields of a statement's policy."""
        said: Origin = {"nonce": self.digits, "source": self.source}
        if self.commitment is not None:
            said["commitment"] = self.commitment
        if self.beacon is not None:
            said["beacon"] = self.beacon
        return said


def own(digits: str | None = None) -> Nonce:
    """The auditor's own nonce, by default random; VxpError unless it is 2 to 128 hexadecimal digits."""
    text = (secrets.token_hex(16) if digits is None else digits).lower()
    if not (2 <= len(text) <= 128 and _is_hex(text)):
        raise VxpError(f"--nonce {digits!r}: expected 2 to 128 hexadecimal digits, such as those of a public draw")
    return Nonce(text)


def commit(target: Path) -> tuple[str, Path]:
    """Write a commitment to a fresh nonce, to be published, and beside it the opening, to be kept until the audit; returns the
    commitment's digest and the opening's path."""
    opening = target.with_suffix(".opening.json")
    for path in (target, opening):
        if path.exists():
            raise VxpError(f"{path} is there already, and a commitment is never replaced: choose another name")
    digits = secrets.token_hex(32)
    said = {"commitment": store.digest(digits.encode()), "created": documents.now()}
    store.write_bytes(opening, result.plain_json(said | {"nonce": digits}))
    os.chmod(opening, 0o600)
    store.write_bytes(target, result.plain_json(said))
    return said["commitment"], opening


def opened(path: Path) -> Nonce:
    """The nonce of an opening that `commit` wrote; VxpError for another file."""
    said = _fields(path, "an opening that vxp verify --commit wrote", "commitment", "created", "nonce")
    return Nonce(said["nonce"], "commitment",
                 commitment={"digest": said["commitment"], "created": said["created"]})


def drawn(path: Path) -> Nonce:
    """The nonce of a round of the beacon, as its servers send it as JSON; VxpError for another file."""
    said = _fields(path, f"a round of drand's chain {QUICKNET}", "round", "randomness", "signature")
    return Nonce(said["randomness"], "beacon",
                 beacon={"chain": QUICKNET, "round": said["round"], "signature": said["signature"]})


def _fields(path: Path, what: str, *names: str) -> dict[str, Any]:
    try:
        said = vxp_schemas.loads(store.read_file(path))
    except FileNotFoundError:
        raise VxpError(f"{path} does not exist: expected {what}") from None
    except vxp_schemas.SchemaError as error:
        raise VxpError(f"{path}: {error}; expected {what}") from None
    types = {name: int if name == "round" else str for name in names}
    if not isinstance(said, dict) or any(type(said.get(name)) is not kind for name, kind in types.items()):
        raise VxpError(f"{path}: expected {what}, with the fields {', '.join(names)}")
    return {name: said[name] for name in names}


def fault(policy: Drawn, created: str, stated: str) -> str | None:
    """What is wrong with the source that the policy of a statement of the time `stated` gives for its nonce, for a bundle that
    was sealed at `created`; None where nothing is.

    The signature of a beacon's round is not checked, which needs BLS12-381: who draws up a table compares the round with the
    beacon. Neither are the times at which a commitment and a root digest were published, which no file can prove.
    """
    source, nonce = policy.get("source", "auditor"), policy["nonce"]
    if source == "all" and policy["sample"] is not None:
        return f"it says that nothing was drawn, and a sample of {policy['sample']} items"
    try:
        if source == "commitment":
            return _commitment_fault(policy.get("commitment"), nonce, created)
        if source == "beacon":
            return _beacon_fault(policy.get("beacon"), nonce, created, stated)
    except VxpError as error:  # a time that no calendar has
        return str(error)
    return None


def _commitment_fault(said: typed.AuditPolicyCommitment | None, nonce: str, created: str) -> str | None:
    if not (_is_hex(nonce) and len(nonce) == 64):
        return f"the nonce {nonce[:80]!r}: expected the 64 hexadecimal digits that vxp verify --commit drew"
    if said is None or store.digest(nonce.encode()) != said["digest"]:
        stated = None if said is None else said["digest"]
        return f"the commitment {stated} is not the SHA-256 of the nonce's digits, {store.digest(nonce.encode())}"
    if not _moment(str(said["created"])) < _moment(created):
        return (f"the commitment is of {said['created']} and the bundle of {created}: expected one from before the bundle, so "
                "that nobody who knew its root digest chose the nonce")
    return None


def _beacon_fault(said: typed.AuditPolicyBeacon | None, nonce: str, created: str, stated: str) -> str | None:
    if said is None or said["chain"] != QUICKNET:
        return f"the chain {None if said is None else said['chain']}: expected {QUICKNET}"
    signature, number = said["signature"], said["round"]
    if not (len(signature) == 96 and _is_hex(signature)):
        return f"the signature {signature[:40]!r}: expected 96 hexadecimal digits"
    if hashlib.sha256(bytes.fromhex(signature)).hexdigest() != nonce:
        return "the randomness is not the SHA-256 of the round's signature"
    wanted = round_of(created)
    if number != wanted:
        return (f"round {number}: expected {wanted}, the first that is due {DELAY.days} day after the bundle was sealed "
                f"({created}), so that nobody chooses among rounds. It is due at {due(wanted):%Y-%m-%dT%H:%M:%SZ}")
    if due(wanted) > _moment(stated):
        return f"round {wanted} is due at {due(wanted):%Y-%m-%dT%H:%M:%SZ}, and this audit is of {stated}: expected a later one"
    return None


def round_of(created: str) -> int:
    """The number of the first round that is due at or after `created` and DELAY."""
    return -((GENESIS - _moment(created) - DELAY) // PERIOD) + 1


def due(number: int) -> datetime:
    """When a round is due; the first has the number 1."""
    return GENESIS + (number - 1) * PERIOD


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise VxpError(f"the time {text!r}: expected one such as 2026-01-31T12:00:00Z") from None


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)
