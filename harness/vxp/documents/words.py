"""An explanation in words: a text, and what it claims, as attributes with a value and a role.

As a document it is {"text": "...", "claims": [{"attribute": "shot", "value": "4", "role": "cause"}]}. People read the text, and
metrics of claims read the claims: nobody has to agree on how a claim is found in a sentence. Reading it needs no torch.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import vxp_schemas

from vxp.documents.findings import HIDDEN, plain
from vxp.errors import VxpError

Role = Literal["cause", "context"]
ROLES: tuple[Role, ...] = ("cause", "context")
"""What is said to have caused the output, and what is said to be there without having caused it."""
MAX_TEXT, MAX_NAME, MAX_CLAIMS = 4096, 256, 64
"""Characters of a text, characters of an attribute or value, and claims of one explanation."""
CAPACITY = 8192
"""Bytes that a document takes at most where it is stored in a row of a tensor. A text of 4096 ASCII characters leaves room for
64 claims of 60 bytes."""
SHOWN = 3
"""Faults that an error tells."""


@dataclass(frozen=True)
class Claim:
    """That an attribute has a value, and whether this caused the output."""

    attribute: str
    value: str
    role: Role

    @property
    def pair(self) -> tuple[str, str]:
        """Attribute and value as they are compared: in Unicode NFC, and letter by letter."""
        return composed(self.attribute), composed(self.value)


@dataclass(frozen=True)
class Words:
    """A text, empty where the explanation consists of claims alone, and its claims in the order that their maker chose."""

    text: str
    claims: tuple[Claim, ...] = ()


def composed(text: str) -> str:
    """A text in Unicode NFC, in which an accent has one spelling."""
    return unicodedata.normalize("NFC", text)


def parsed(document: str, *, where: str = "an explanation in words") -> Words:
    """The explanation of a JSON text; VxpError, which begins with `where`, with its faults."""
    # a lone surrogate becomes bytes that the strict reader refuses as no UTF-8
    return _read(document.encode("utf-8", "surrogatepass"), where)


def of_bytes(data: bytes, *, where: str = "an explanation in words") -> Words:
    """The explanation of a JSON text in UTF-8 with any number of zero bytes behind it; VxpError as of `parsed`."""
    return _read(data.rstrip(b"\0"), where)


def canonical(words: Words) -> bytes:
    """The RFC 8785 form of an explanation, which `parsed` reads; VxpError with its faults where it would not."""
    where = "an explanation in words"
    try:
        data = vxp_schemas.canonical({"text": words.text, "claims": [dataclasses.asdict(claim) for claim in words.claims]})
    except vxp_schemas.InvalidDocument as error:
        raise VxpError(f"{where}: {error}") from None
    _read(data, where)
    return data


def _read(data: bytes, where: str) -> Words:
    try:
        found = vxp_schemas.loads(data)
    except vxp_schemas.InvalidDocument as error:
        raise VxpError(f"{where}: {error}") from None
    refuse(faults(found), where)
    return Words(found["text"], tuple(Claim(**claim) for claim in found["claims"]))


def faults(found: Any) -> Iterator[str]:
    """What keeps a JSON value from being an explanation in words, each in a clause that says what was expected."""
    if not isinstance(found, dict):
        yield f"it is {shown(found)}, expected an object with text and claims"
        return
    yield from keys("it", found, ("text", "claims"))
    if "text" in found:
        yield from _text("text", found["text"], MAX_TEXT)
    claims = found.get("claims", [])
    if not isinstance(claims, list):
        yield f"claims is {shown(claims)}, expected a list of claims, empty where nothing is claimed"
        return
    if len(claims) > MAX_CLAIMS:
        yield f"it has {len(claims)} claims, expected at most {MAX_CLAIMS}"
        return
    for i, claim in enumerate(claims):
        yield from _claim(i, claim)
    yield from _repeated(claims)


def _claim(i: int, claim: Any) -> Iterator[str]:
    if not isinstance(claim, dict):
        yield f"claim {i} is {shown(claim)}, expected an object with attribute, value and role"
        return
    yield from keys(f"claim {i}", claim, ("attribute", "value", "role"))
    for key in ("attribute", "value"):
        if key in claim:
            yield from name(f"{key} of claim {i}", claim[key])
    if "role" in claim and claim["role"] not in ROLES:
        yield f"role of claim {i} is {shown(claim['role'])}, expected {' or '.join(ROLES)}"


def keys(what: str, found: dict[str, Any], known: Sequence[str]) -> Iterator[str]:
    """Keys of an object that are unknown, and known ones that it lacks."""
    named = ", ".join(known)
    for key in found:
        if key not in known:
            yield f"{what} has the unknown key {plain(key)[:MAX_NAME]!r}, expected {named}: leave it out"
    for key in known:
        if key not in found:
            yield f"{what} has no {key}, expected {named}: add it"


def name(what: str, value: Any) -> Iterator[str]:
    """What keeps a value from being a name."""
    yield from _text(what, value, MAX_NAME)
    if isinstance(value, str) and value != value.strip():
        yield f"{what} is {shown(value)}, expected no white space around it"
    if value == "":
        yield f"{what} is empty, expected at least one character"


def _text(what: str, value: Any, most: int) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{what} is {shown(value)}, expected a text"
        return
    if len(value) > most:
        yield f"{what} has {len(value)} characters, expected at most {most}"
    hidden = HIDDEN.search(value)
    if hidden:
        yield (f"{what} has the control character U+{ord(hidden[0]):04X} at {hidden.start()}, expected signs that are shown, "
               "on one line")


def _repeated(claims: Sequence[Any]) -> Iterator[str]:
    """Which claims say of an attribute and value what an earlier one said, or the opposite."""
    first: dict[tuple[str, str], int] = {}
    for i, claim in enumerate(claims):
        said, value = (claim.get("attribute"), claim.get("value")) if isinstance(claim, dict) else (None, None)
        if isinstance(said, str) and isinstance(value, str):
            pair = composed(said), composed(value)
            if pair in first:
                yield (f"claims {first[pair]} and {i} are both of {shown(pair[0])} with the value {shown(pair[1])}, expected "
                       "one claim of them")
            first.setdefault(pair, i)


def shown(value: Any) -> str:
    """A stranger's value, short and on one line."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return ascii(value)[:80]


def refuse(found: Iterable[str], where: str) -> None:
    """VxpError, which begins with `where`, where there are faults."""
    every = list(found)
    if every:
        more = f"; and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
        raise VxpError(f"{where}: {'; '.join(every[:SHOWN])}{more}")


__all__ = ["CAPACITY", "MAX_CLAIMS", "MAX_NAME", "MAX_TEXT", "ROLES", "Claim", "Role", "Words", "canonical", "composed",
           "faults", "keys", "name", "of_bytes", "parsed", "refuse", "shown"]
