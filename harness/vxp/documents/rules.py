"""An explanation as a rule of named concepts: when the model says a class, and what it says otherwise.

As a document it is {"rule": [[{"concept": "round", "is": true}, {"concept": "red", "is": true}], [...]], "says": 1,
"otherwise": 0}: alternatives, each of which holds where all of its literals do. Classes are numbers, as of targets; `otherwise`
is null where the rule says nothing of other items. Reading it needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import vxp_schemas

from vxp.documents import words
from vxp.errors import VxpError

CAPACITY = 4096
"""Bytes of a document in a row of a tensor, zeros behind it."""
MAX_ALTERNATIVES, MAX_LITERALS, MAX_CLASS = 64, 64, 1_000_000
"""Alternatives of a rule, literals of an alternative, and what class numbers are below."""
KEYS = ("rule", "says", "otherwise")
WHERE = "a rule"


@dataclass(frozen=True)
class Literal:
    """That an item has a concept, or that it has not."""

    concept: str
    holds: bool


Alternative = tuple[Literal, ...]


@dataclass(frozen=True)
class Rule:
    """The class that is said where one of the alternatives holds, and the one otherwise, None where nothing is said. An
    alternative without literals always holds, and a rule without alternatives never fires."""

    alternatives: tuple[Alternative, ...]
    says: int
    otherwise: int | None = None

    @property
    def literals(self) -> int:
        """How many literals it has in all."""
        return sum(len(alternative) for alternative in self.alternatives)

    def fires(self, has: Mapping[str, bool]) -> bool:
        """Whether one of its alternatives holds for an item that has these concepts or not; a literal of another concept
        never holds."""
        return any(all(has.get(literal.concept) is literal.holds for literal in alternative)
                   for alternative in self.alternatives)


def of_bytes(data: bytes, *, where: str = WHERE) -> Rule:
    """The rule of a JSON text in UTF-8 with any number of zero bytes behind it; VxpError, which begins with `where`, with its
    faults."""
    try:
        found = vxp_schemas.loads(data.rstrip(b"\0"))
    except vxp_schemas.InvalidDocument as error:
        raise VxpError(f"{where}: {error}") from None
    words.refuse(faults(found), where)
    return Rule(tuple(tuple(Literal(literal["concept"], literal["is"]) for literal in alternative)
                      for alternative in found["rule"]), found["says"], found["otherwise"])


def canonical(rule: Rule) -> bytes:
    """The RFC 8785 form of a rule, which `of_bytes` reads; VxpError with its faults where it would not."""
    made = [[{"concept": literal.concept, "is": literal.holds} for literal in alternative] for alternative in rule.alternatives]
    document = {"rule": made, "says": rule.says, "otherwise": rule.otherwise}
    words.refuse(faults(document), WHERE)
    data = vxp_schemas.canonical(document)
    if len(data) > CAPACITY:
        raise VxpError(f"{WHERE} takes {len(data)} bytes, expected at most {CAPACITY}: say less")
    return data


def faults(found: Any) -> Iterator[str]:
    """What keeps a JSON value from being a rule, each in a clause that says what was expected."""
    if not isinstance(found, dict):
        yield f"it is {words.shown(found)}, expected an object with {', '.join(KEYS)}"
        return
    yield from words.keys("it", found, KEYS)
    for key in ("says", "otherwise"):
        value = found.get(key)
        left_out = value is None and (key == "otherwise" or key not in found)
        if not left_out and not (type(value) is int and 0 <= value < MAX_CLASS):
            yield f"{key} is {words.shown(value)}, expected the number of a class{', or null' if key == 'otherwise' else ''}"
    alternatives = found.get("rule", [])
    if not isinstance(alternatives, list) or len(alternatives) > MAX_ALTERNATIVES:
        yield f"rule is {words.shown(alternatives)}, expected a list of at most {MAX_ALTERNATIVES} alternatives"
        return
    for i, alternative in enumerate(alternatives):
        yield from _alternative(i, alternative)


def _alternative(i: int, found: Any) -> Iterator[str]:
    if not isinstance(found, list) or len(found) > MAX_LITERALS:
        yield f"alternative {i} is {words.shown(found)}, expected a list of at most {MAX_LITERALS} literals"
        return
    named: list[str] = []
    for k, literal in enumerate(found):
        what = f"literal {k} of alternative {i}"
        if not isinstance(literal, dict):
            yield f"{what} is {words.shown(literal)}, expected an object with concept and is"
            continue
        yield from words.keys(what, literal, ("concept", "is"))
        if "concept" in literal:
            yield from words.name(f"concept of {what}", literal["concept"])
            named += [literal["concept"]] if isinstance(literal["concept"], str) else []
        if "is" in literal and not isinstance(literal["is"], bool):
            yield f"is of {what} is {words.shown(literal['is'])}, expected true or false"
    for name in sorted({name for name in named if named.count(name) > 1}):
        yield f"alternative {i} has several literals of {words.shown(name)}, expected one"


def told(rule: Rule) -> str:
    """The rule on one line, such as `round & red or !round & ground`."""
    parts = [" & ".join(f"{'' if literal.holds else '!'}{literal.concept}" for literal in alternative) or "always"
             for alternative in rule.alternatives]
    return " or ".join(parts) or "never"


__all__ = ["CAPACITY", "MAX_ALTERNATIVES", "MAX_CLASS", "MAX_LITERALS", "Alternative", "Literal", "Rule", "canonical", "faults",
           "of_bytes", "told"]
