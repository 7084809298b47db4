"""What a board computed before and nothing has changed since, in one file of the user's cache: one more record costs what it
changes, not what is there.

A value is found again by the digest of everything that it follows from, the code included, so that it is never that of other
files or of another version. `vxp leaderboard build --check` does not look here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import vxp_schemas
from vxp_schemas import typed

import vxp
from vxp.bundles import Bundle, open_bundle
from vxp.core import VxpError
from vxp.machine import caches

MOST = 1 << 28
"""Bytes of a record above which it is not looked up; no record of a bundle within its caps is near it."""
CODE = (".py", ".json", ".j2", ".css")
"""Endings of the files that anything here depends on."""
UNUSED = 90 * 24 * 3600
"""Seconds after which what nobody asked for is forgotten."""


class Memory:
    """Values of JSON by what they follow from. Without a file it remembers nothing, and a file that cannot be read or written
    is as none."""

    def __init__(self, file: Path | None) -> None:
        self._base: sqlite3.Connection | None = None
        self._asked: set[bytes] = set()
        if file is not None:
            with contextlib.suppress(OSError, sqlite3.Error):
                file.parent.mkdir(parents=True, exist_ok=True)
                base = sqlite3.connect(file, timeout=1)
                base.execute("CREATE TABLE IF NOT EXISTS known (key BLOB PRIMARY KEY, value TEXT, used INTEGER) WITHOUT ROWID")
                self._base = base

    def get(self, *of: str) -> Any | None:
        """The value that follows from these; None where there is none."""
        if self._base is None:
            return None
        key = _key(of)
        try:
            row = self._base.execute("SELECT value FROM known WHERE key = ?", (key,)).fetchone()
            value = None if row is None else json.loads(row[0])
        except (sqlite3.Error, ValueError):
            return None
        self._asked.add(key)
        return value

    def put(self, value: Any, *of: str) -> None:
        """Remember a value."""
        if self._base is not None:
            with contextlib.suppress(sqlite3.Error):
                self._base.execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", (_key(of), json.dumps(value), _today()))

    def kept(self, make: Callable[[], Any], *of: str) -> Any:
        """The value that follows from these: the one remembered, or else the one that `make` gives, which is remembered."""
        value = self.get(*of)
        if value is None:
            value = make()
            self.put(value, *of)
        return value

    def file(self, place: Path, make: Callable[[], bytes], *of: str) -> bytes:
        """The bytes of a file that follow from these: those in its place where they are still the ones that `make` gave before,
        which nobody has edited since, or else those that it gives now."""
        digest = self.get("file", *of)
        if digest is not None and place.is_file() and hashlib.sha256(there := place.read_bytes()).hexdigest() == digest:
            return there
        made = make()
        self.put(hashlib.sha256(made).hexdigest(), "file", *of)
        return made

    def checked(self, document: typed.Leaderboard, *of: str) -> None:
        """Check a board, or a part of one, that follows from these against its schema, unless it was found in order before."""
        if self.get("in order", *of) is None:
            vxp_schemas.validate(document)
            self.put(True, "in order", *of)

    def close(self) -> None:
        """Keep what was put, and forget what nobody asked for in a long time."""
        if self._base is None:
            return
        with contextlib.suppress(sqlite3.Error), self._base:
            self._base.executemany("UPDATE known SET used = ? WHERE key = ? AND used < ?",
                                   ((_today(), key, _today()) for key in self._asked))
            self._base.execute("DELETE FROM known WHERE used < ?", (_today() - UNUSED,))
        self._base.close()


@contextlib.contextmanager
def memory(*, afresh: bool = False) -> Iterator[Memory]:
    """That of the user: $XDG_CACHE_HOME/vxp/records.sqlite, by default in ~/.cache. afresh: one that remembers nothing."""
    found = Memory(None if afresh else caches() / "records.sqlite")
    try:
        yield found
    finally:
        found.close()


NOTHING = Memory(None)
"""A memory that remembers nothing."""


def _today() -> int:
    return int(time.time()) // 86400 * 86400


def _key(of: tuple[str, ...]) -> bytes:
    return hashlib.sha256("\0".join((_code(), *of)).encode()).digest()


def opened(bundle: Path) -> tuple[Bundle, str] | None:
    """A bundle with the digest of its every byte, none of which can change later without whoever reads it noticing; None where
    the files cannot be read in order, which the validator will say."""
    try:
        opened = open_bundle(bundle)
        if sum(opened.size(path) for path in opened.paths) > MOST:
            return None
        found = hashlib.sha256()
        for path in opened.paths:
            inside = hashlib.sha256()
            with opened.stream(path) as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    inside.update(block)
            found.update(f"\n{path}\n{inside.hexdigest()}".encode())
    except (VxpError, OSError):
        return None
    return opened, found.hexdigest()


@cache
def _code() -> str:
    """The digest of all code, registry and templates."""
    found = hashlib.sha256()
    for top in (Path(vxp.__file__).parent, Path(vxp_schemas.__file__).parent):
        for file in sorted(p for p in top.rglob("*") if p.suffix in CODE):
            found.update(f"\n{file.relative_to(top)}\n{hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return found.hexdigest()


__all__ = ["NOTHING", "Memory", "memory", "opened"]
