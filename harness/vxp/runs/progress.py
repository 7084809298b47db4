"""Progress of long work: a bar with rows per second and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVERY = 10.0
"""Seconds between two plain lines."""


@dataclass
class Lines:
    """Plain lines for logs: one when a stage starts, one about every ten seconds, one when it ends."""

    stream: TextIO
    title: str = ""
    total: int = 0
    done: int = 0
    count: int = 0
    began: float = 0.0
    said: float = 0.0
    what: str = "item"

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def stage(self, title: str, items: int, what: str = "item") -> None:
        self._end()
        self.title, self.total, self.done, self.count, self.what = title, items, 0, 0, what
        self.began = self.said = time.monotonic()
        print(f"{title}: {self._counted(items)}", file=self.stream, flush=True)

    def items(self, n: int) -> None:
        self.done += n
        self._say(force=False)

    def rows(self, n: int) -> None:
        self.count += n
        self._say(force=False)

    def _say(self, *, force: bool) -> None:
        now = time.monotonic()
        if not force and now - self.said < EVERY:
            return
        self.said, elapsed = now, max(now - self.began, 1e-9)
        left = f", {elapsed / self.done * (self.total - self.done):.0f} s left" if 0 < self.done < self.total else ""
        rate = f", {self.count / elapsed:.0f} rows/s" if self.count else ""
        print(f"{self.title}: {self.done}/{self._counted(self.total)}{rate}{left}", file=self.stream, flush=True)

    def _counted(self, n: int) -> str:
        return f"{n} {self.what}{'' if n == 1 else 's'}"

    def _end(self) -> None:
        if self.title:
            self._say(force=True)
        self.title = ""


@dataclass
class Bar:
    """A bar per stage on a terminal."""

    console: Console
    bar: Progress = field(init=False)
    task: TaskID | None = None
    count: int = 0
    began: float = 0.0

    def __post_init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.bar = Progress(TextColumn("{task.description:<34.34}"), BarColumn(), MofNCompleteColumn(),
                            TextColumn("{task.fields[rate]:>12}"), TimeElapsedColumn(), TimeRemainingColumn(),
                            console=self.console)

    def __enter__(self) -> Bar:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def stage(self, title: str, items: int, what: str = "item") -> None:
        self.task = self.bar.add_task(title, total=items, rate="")
        self.count, self.began = 0, time.monotonic()

    def items(self, n: int) -> None:
        if self.task is not None:
            self.bar.advance(self.task, n)

    def rows(self, n: int) -> None:
        self.count += n
        if self.task is not None:
            rate = self.count / max(time.monotonic() - self.began, 1e-9)
            self.bar.update(self.task, rate=f"{rate:.0f} rows/s")


def shown(console: Console) -> Bar | Lines:
    """A bar where the console is a terminal, plain lines otherwise."""
    return Bar(console) if console.is_terminal else Lines(console.file)  # type: ignore[arg-type]
