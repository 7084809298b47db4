"""What a check found: a rule of the catalogue, where, what, what was expected, and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

import vxp_schemas
from vxp_schemas import typed

from vxp.catalogue import nearest
from vxp.errors import VxpError

Severity = Literal["error", "warning", "flag"]
SHOWN = 5
"""Examples of a finding that are kept; the others are counted."""
LONGEST = 2000
"""Characters of what was found that are kept."""
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Signs that a terminal or a page obeys instead of showing them."""


def plain(text: str) -> str:
    """A stranger's text on one line, in signs that are shown as they are, cut where it is long."""
    whole = text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"
    return HIDDEN.sub(lambda sign: ascii(sign[0])[1:-1], whole)


@dataclass(frozen=True)
class Rule:
    """An entry of the catalogue. A flag is a symptom with its evidence: it never makes a bundle invalid."""

    code: str
    level: str
    severity: Severity
    title: str
    clause: str
    why: str
    fix: str


@cache
def rules() -> Mapping[str, Rule]:
    """Every rule by its code, in the catalogue's order."""
    return MappingProxyType({r["code"]: Rule(**dict[str, Any](r)) for r in vxp_schemas.rules()})


def rule(code: str) -> Rule:
    """The rule of a code in any case, with or without `VXP-`; VxpError for an unknown one."""
    wanted = code.strip().upper()
    wanted = wanted if wanted.startswith("VXP-") else f"VXP-{wanted}"
    if wanted not in rules():
        raise VxpError(f"no rule has the code {code!r}{nearest(wanted, list(rules()))}; the codes are "
                       f"{', '.join(rules())}")
    return rules()[wanted]


@dataclass
class Finding:
    """One kind of fault at one place: the first examples and how many there were."""

    code: str
    file: str
    expected: str
    examples: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0
    fix: str = ""

    @property
    def rule(self) -> Rule:
        return rules()[self.code]

    @property
    def remedy(self) -> str:
        return self.fix or self.rule.fix

    def __str__(self) -> str:
        where, found = self.examples[0]
        place = ", ".join(p for p in (self.file, where) if p) or "the bundle"
        more = f" (and {self.count - 1} more)" if self.count > 1 else ""
        return f"{self.code} {place}: found {found}, expected {self.expected}{more}. {self.remedy}"

    def document(self) -> typed.Finding:
        return {"code": self.code, "severity": self.rule.severity, "title": self.rule.title, "file": self.file,
                "count": self.count, "examples": [{"where": w, "found": f} for w, f in self.examples],
                "expected": self.expected, "why": self.rule.why, "clause": self.rule.clause, "fix": self.remedy}


class Findings:
    """All findings of a check; those of one rule, file and expectation are one finding with a count."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str, str], Finding] = {}

    def add(self, code: str, file: str, where: str, found: str, expected: str, *, fix: str = "", count: int = 1) -> None:
        """file: path in the bundle or empty; where: a JSON pointer, row, tensor or byte; count: how many it stands for."""
        file, expected = plain(file)[:1000], plain(expected)
        key = (rules()[code].code, file, expected, fix)
        finding = self._found.setdefault(key, Finding(code, file, expected, fix=fix))
        finding.count += count
        if len(finding.examples) < SHOWN:
            finding.examples.append((plain(where), plain(found)))

    @property
    def all(self) -> list[Finding]:
        order = {"error": 0, "warning": 1, "flag": 2}
        codes = list(rules())
        return sorted(self._found.values(), key=lambda f: (order[f.rule.severity], codes.index(f.code), f.file))

    @property
    def errors(self) -> list[Finding]:
        return [f for f in self.all if f.rule.severity == "error"]

    def has(self, code: str) -> bool:
        return any(f.code == code for f in self._found.values())
