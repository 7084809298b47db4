"""Where the time of a run goes: seconds of CPU by stage, counted only while somebody asks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Stage = Literal["loading", "building", "imputation", "model", "readout", "explaining", "metrics", "statistics", "files",
                "report", "bound", "other"]
"""`bound` is what a benchmark runs beside the run, to compare it with."""

_open: list[tuple[Stage, float]] = []
_spent: dict[Stage, float] | None = None


@contextmanager
def timed() -> Iterator[dict[Stage, float]]:
    """Seconds of CPU of this process by stage, until the block ends. A stage within another is taken off it."""
    global _spent
    before, _spent = _spent, {}
    try:
        with stage("other"):
            yield _spent
    finally:
        _spent = before


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """What the block does is this stage."""
    if _spent is None:
        yield
        return
    began = time.process_time()
    _charge(began)
    _open.append((name, began))
    try:
        yield
    finally:
        _charge(time.process_time())
        _open.pop()
        if _open:
            _open[-1] = (_open[-1][0], time.process_time())


def _charge(now: float) -> None:
    """Give the innermost stage what has passed since it went on."""
    if _open and _spent is not None:
        name, since = _open[-1]
        _spent[name] = _spent.get(name, 0.0) + now - since
        _open[-1] = (name, now)
