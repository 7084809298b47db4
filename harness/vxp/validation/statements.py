"""What a bundle says in words, names, dates and digests: texts that say nothing, letters that look like others, days that
cannot be, and digests of nothing. Part of the level consistency."""

from __future__ import annotations

import datetime
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import vxp_schemas

from vxp.validation.state import Document, State

PLACEHOLDERS: Final = frozenset({
    "", "todo", "tbd", "tba", "na", "fixme", "xxx", "placeholder", "null", "undefined", "none", "notapplicable", "yourname",
    "nameofsubmitter", "foobar", "asdf"})
"""Texts that say nothing, in lower case, of letters and digits alone."""
FIRST: Final = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
"""No document is older than the first draft of the standard's year."""
AHEAD: Final = datetime.timedelta(days=1)
"""By so much a clock may be wrong."""
EMPTY: Final = frozenset({"sha256:" + "0" * 64, f"sha256:{hashlib.sha256(b'').hexdigest()}"})
"""Digests that name no content."""
TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
LOOKALIKES: Final = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC")
"""Scripts whose letters look like each other's."""


def check(state: State) -> None:
    root = state.submission
    if root is None:
        return
    names = [("/submitter/name", root["submitter"]["name"]),
             *((f"/authors/{i}", author) for i, author in enumerate(root["authors"]))]
    texts = [*names, ("/submitter/contact", root["submitter"]["contact"]),
             *((f"/{field}", root[field]) for field in ("title", "license", "statement_of_tuning"))]
    for where, text in texts:
        _says_something(state, where, text)
    if root["conflicts_of_interest"].strip(" .").casefold() != "none":
        _says_something(state, "/conflicts_of_interest", root["conflicts_of_interest"])
    for where, text in names:
        _plain_letters(state, where, text)
    for path, document in _documents(state):
        _digests(state, path, document)
    _dates(state)


def _says_something(state: State, where: str, text: str) -> None:
    letters = "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())
    if letters in PLACEHOLDERS or letters.startswith("loremipsum"):
        state.findings.add("VXP-K023", "submission.json", where, ascii(text)[1:-1][:120],
                           "words that say what the field asks for")


def _plain_letters(state: State, where: str, name: str) -> None:
    """A name whose letters others read as other ones is another name under the same looks."""
    unseen = [c for c in name if unicodedata.category(c) in ("Cf", "Co", "Cn", "Cs")]
    mixed = next((word for word in re.findall(r"\w+", name) if len(_scripts(word)) > 1), None)
    if unseen or mixed:
        said = f"U+{ord(unseen[0]):04X}, which nobody sees" if unseen else f"{mixed!a} of {' and '.join(_scripts(mixed or ''))}"
        state.findings.add("VXP-K024", "submission.json", where, said, "a word of letters of one script, all of them visible")


def _scripts(word: str) -> list[str]:
    found = {unicodedata.name(c, "").partition(" ")[0] for c in word if c.isalpha()}
    return sorted(found & set(LOOKALIKES))


def _documents(state: State) -> Iterator[tuple[str, Document]]:
    for path, document in (("submission.json", state.submission), ("system.json", state.system)):
        if document is not None:
            yield path, document
    for found in state.sets:
        yield found.path, found.document
    for result in state.results:
        yield result.path, result.document
        if result.environment is not None:
            yield str(result.document["environment"]["path"]), result.environment
    yield from state.documents.items()


def _digests(state: State, path: str, document: Document) -> None:
    for where, value in _leaves(document):
        if value in EMPTY or (where.endswith("/commit") and set(value) == {"0"}):
            state.findings.add("VXP-K026", path, where, f"{value[:19]}..., the digest of an empty file or of zeros",
                               "the digest of what is meant, or no such field")


def _leaves(value: Any, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str, str]]:
    """The texts of a document by pointer; a descriptor of a file of no bytes has the digest of none."""
    if isinstance(value, str):
        yield vxp_schemas.pointer(where), value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if not (key == "digest" and value.get("size") == 0):
                yield from _leaves(inner, (*where, key))
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for i, inner in enumerate(value):
            yield from _leaves(inner, (*where, i))


def _dates(state: State) -> None:
    """Days of the calendar, neither ahead nor before the standard, and no document older than what it binds."""
    now = datetime.datetime.now(datetime.UTC)
    when: dict[str, datetime.datetime] = {}
    for path, document in _documents(state):
        text = document.get("created")
        if text is None:
            continue
        try:
            when[path] = datetime.datetime.fromisoformat(text)
        except ValueError:
            state.findings.add("VXP-K025", path, "/created", text, "a day of the calendar and a time of the day")
            continue
        if not FIRST <= when[path] <= now + AHEAD:
            state.findings.add("VXP-K025", path, "/created", text, f"a time from {FIRST:%Y-%m-%d} to now")
    pairs = [(d["path"], "submission.json") for d in ([] if state.submission is None else state.submission["results"])]
    pairs += [(str(r.document["set"]["path"]), r.path) for r in state.results]
    for earlier, later in pairs:
        if earlier in when and later in when and when[earlier] > when[later]:
            state.findings.add("VXP-K025", later, "/created", f"{when[later]:{TIME}}, before {earlier}, which it binds",
                               f"{when[earlier]:{TIME}} or later")


__all__ = ["check"]
