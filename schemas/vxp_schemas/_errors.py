"""What goes wrong with a document, said once: where, what was found, what was expected."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

MAX_FAULTS = 1000
"""Faults of a document that are reported; whoever has more corrects these first."""
MAX_PART = 200
"""Characters of a key that a pointer shows."""


class SchemaError(ValueError):
    """Any error of this package: the input's fault, never ours."""


class UnknownName(SchemaError):  # noqa: N818 (named for what went wrong, as the callers read it)
    """A name that the registry or the schemas do not hold; the message gives the nearest one and the whole list."""


@dataclass(frozen=True)
class Fault:
    """One fault: a JSON pointer (RFC 6901; empty is the document itself), what was found there, what was expected."""

    pointer: str
    found: str
    expected: str
    hint: str = ""

    def __str__(self) -> str:
        advice = f" ({self.hint})" if self.hint else ""
        return f"{self.pointer or '(document)'}: found {self.found}, expected {self.expected}{advice}"


class InvalidDocument(SchemaError):  # noqa: N818 (as above)
    """A document that is not valid; `faults` holds every fault, the message lists them all."""

    def __init__(self, faults: Iterable[Fault], *, what: str = "document") -> None:
        self.faults = tuple(faults)
        number = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join([f"invalid {what}, {number}:", *(f"  {fault}" for fault in self.faults)]))


def pointer(path: Iterable[str | int]) -> str:
    """The JSON pointer (RFC 6901) of a path of keys and indices; a key of more than 200 characters is cut."""
    return "".join("/" + _cut(str(part)).replace("~", "~0").replace("/", "~1") for part in path)


def _cut(part: str) -> str:
    return part if len(part) <= MAX_PART else f"{part[:MAX_PART]}... ({len(part)} characters)"


def shown(value: Any, *, limit: int = 120) -> str:
    """A JSON value on one line, cut at `limit` characters."""
    if isinstance(value, dict | list) and value:
        # a whole subtree says less than its kind, and printing it could be as large as the document
        return f"an object of {len(value)} fields" if isinstance(value, dict) else f"an array of {len(value)} entries"
    text = json.dumps(value, ensure_ascii=True, default=repr)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """`did you mean 'x'?` for the known name nearest to this one, or nothing."""
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def unknown(name: str, known: Iterable[str], *, what: str) -> UnknownName:
    """The error for a name that is not among the known ones."""
    names = sorted(known)
    advice = did_you_mean(name, names)
    return UnknownName(
        f"unknown {what} {name!r}, expected one of: {', '.join(names) or '(none)'}" + (f"; {advice}" if advice else "")
    )
