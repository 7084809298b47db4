"""Explanations that are read, on the page: texts with what they claim marked, and rules as a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vxp.core import OK
from vxp.documents import rules, words
from vxp.documents.rules import Rule
from vxp.documents.words import Claim
from vxp.report.words import Context, spelled

KINDS = ("text", "rules")
"""The kinds that are read."""
MARK = {"cause": '<strong class="cause">{}</strong>', "context": '<span class="context">{}</span>'}


def cell(kind: str, payload: NDArray[np.float32], status: str, classes: Sequence[str] = ()) -> Context:
    """What an explainer says of an item: the text with its claims marked, and the claims that the text does not spell out; or a
    rule. classes: their names, where they have names."""
    found: Context = {"text": "", "also": [], "words": "", "rule": None}
    if status != OK:
        return found | {"words": spelled(status)}
    data = payload.astype(np.uint8).tobytes()
    if kind == "rules":
        return found | {"rule": table(rules.of_bytes(data), classes)}
    said = words.of_bytes(data)
    text, also = marked(said.text, said.claims)
    return found | {"text": text, "also": [(claim.attribute, claim.value, claim.role) for claim in also],
                    "words": "" if said.text.strip() or also else "says nothing"}


def table(rule: Rule, classes: Sequence[str]) -> Context:
    """A rule as a table: a column per concept, a row per alternative with `yes`, `no` or nothing."""
    concepts = list(dict.fromkeys(literal.concept for alternative in rule.alternatives for literal in alternative))
    held = [{literal.concept: "yes" if literal.holds else "no" for literal in alternative} for alternative in rule.alternatives]

    def named(number: int | None) -> str:
        if number is None:
            return "nothing"
        return classes[number] if number < len(classes) else f"class {number}"

    return {"concepts": concepts, "rows": [[one.get(concept, "") for concept in concepts] for one in held],
            "always": () in rule.alternatives, "says": named(rule.says), "otherwise": named(rule.otherwise)}


def marked(text: str, claims: Sequence[Claim]) -> tuple[Markup, list[Claim]]:
    """The text as HTML, with every claim marked where it is spelled out: `shot 4` for the attribute shot and the value 4, else
    the value as a word; and the claims that are not."""
    spelled = [(claim, _place(text, claim)) for claim in claims]
    there = sorted((place, claim) for claim, place in spelled if place is not None)
    parts, end = [], 0
    for (start, stop), claim in there:
        if start >= end:
            parts += [escape(text[end:start]), MARK[claim.role].format(escape(text[start:stop]))]
            end = stop
    return Markup("".join([*parts, escape(text[end:])])), [claim for claim, place in spelled if place is None]


def _place(text: str, claim: Claim) -> tuple[int, int] | None:
    """Where a text spells a claim out first."""
    for wanted in (f"{claim.attribute} {claim.value}", claim.value):
        found = re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", text, re.IGNORECASE)
        if found:
            return found.span()
    return None


__all__ = ["KINDS", "cell", "marked", "table"]
