"""`vxp conformance -- COMMAND`: drive any implementation over the conformance vectors, and say where it agrees.

The protocol (spec/09-conformance.md) is one JSON document per line on the implementation's stdin and stdout. Whatever the
implementation does, crash, hang or talk nonsense, is a result of the cases concerned and never an error of the driver.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import vxp_schemas
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import vxp
from vxp.conformance.messages import Case, Message
from vxp.errors import VxpError

PROTOCOL = 1
OURS = (sys.executable, "-P", "-m", "vxp.conformance.worker")
"""Our own harness, through the same door as anybody's."""
TIMEOUT = 300.0
"""Seconds that one case may take."""
GRACE = 10.0
"""Seconds to end in, once it was told to stop or has closed its standard output."""
MAX_LINE = 16 * 2**20
"""Bytes of one line; what is longer is cut, and then no JSON."""
WAITING = 64
"""Lines that may wait to be read; one is due, the rest of a flood is dropped."""

ANSWERS = ("expected", "tolerance", "computed_by", "agrees_with")
"""Fields of a case that an implementation is not shown."""

Outcome = Literal["passed", "failed", "skipped", "error"]
OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "skipped", "error")


@dataclass(frozen=True)
class Checked:
    """What became of one case: its outcome, why, and the largest difference of a number (over its size, above 1)."""

    case: str
    metric: str
    outcome: Outcome
    why: str = ""
    difference: float = 0.0


def folder(given: Path | None = None) -> Path:
    """The folder of the vectors: the one given, or spec/vectors of the checkout that vxp runs from."""
    here = given or Path(vxp.__file__).resolve().parents[2] / "spec" / "vectors"
    if not (here / "LOCK.json").exists():
        raise VxpError(f"{here} holds no conformance vectors (no LOCK.json): give --vectors DIR, the folder spec/vectors of a "
                       "checkout of VXP")
    return here.resolve()


def read_cases(vectors: Path, metrics: Sequence[str] = ()) -> list[Case]:
    """All cases of these metrics (all where none is named), in the order of their files."""
    files = sorted((vectors / "cases").glob("*.json"))
    known = {file.stem.partition("@")[0] for file in files}
    unknown = [m for m in metrics if m.partition("@")[0] not in known]
    if unknown:
        raise VxpError(f"no vectors for {', '.join(unknown)}; there are some for {', '.join(sorted(known))}")
    wanted = {m.partition("@")[0] for m in metrics} or known
    return [case for file in files if file.stem.partition("@")[0] in wanted for case in vxp_schemas.loads(file.read_bytes())]


def conform(
    command: Sequence[str], vectors: Path, cases: Sequence[Case], *, timeout: float = TIMEOUT,
    done: Callable[[Checked], None] = lambda found: None,
) -> tuple[str, list[Checked]]:
    """Run the cases; returns the implementation's own name and what became of every case."""
    with _Peer(command, timeout) as peer:
        hello = peer.ask({"op": "start", "protocol": PROTOCOL, "vectors": str(vectors)})
        if hello.get("op") != "started" or hello.get("protocol") != PROTOCOL:
            why = str(hello.get("message") or f"answered {str(hello)[:120]}, expected op 'started' and protocol {PROTOCOL}")
            return " ".join(command), [Checked(c["id"], c["metric"], "error", why) for c in cases]
        found = []
        for case in cases:
            asked = {key: value for key, value in case.items() if key not in ANSWERS}
            answer = peer.ask({"op": "case", **asked})
            if answer.get("id") != case["id"]:
                peer.end()  # out of step: the answers to come would all be taken for those of other cases
            found.append(checked(case, answer))
            done(found[-1])
        peer.tell({"op": "stop"})
    return f"{hello.get('name', '?')} {hello.get('version', '')}".strip(), found


def checked(case: Case, answer: Message) -> Checked:
    """An answer beside what the case expects."""
    def verdict(outcome: Outcome, why: str, difference: float = 0.0) -> Checked:
        return Checked(case["id"], case["metric"], outcome, why, difference)

    if answer.get("op") == "error":
        return verdict("error", str(answer.get("message", "no message")))
    if answer.get("id") != case["id"]:
        return verdict("error", f"answered case {answer.get('id')!r}, asked was {case['id']!r}")
    if answer.get("op") == "skipped":
        return verdict("skipped", str(answer.get("reason", "no reason")))
    expected = case["expected"]
    n = len(expected["status"])
    status, values = answer.get("status"), answer.get("values")
    if not isinstance(status, list) or len(status) != n:
        return verdict("error", f"status is {str(status)[:60]}, expected a list of {n}")
    for i, (got, wanted) in enumerate(zip(status, expected["status"], strict=True)):
        if got != wanted:
            return verdict("failed", f"item {case['items'][i]['id']!r}: status {got!r}, expected {wanted!r}")
    numbers = expected["values"]
    pairs: list[tuple[str, Any, Any]]
    if case["level"] == "set" or numbers is None:
        pairs = [("the set", answer.get("set"), expected["set"])]
    elif not isinstance(values, list) or len(values) != n:
        return verdict("error", f"values is {str(values)[:60]}, expected a list of {n}")
    else:
        pairs = [(f"item {item['id']!r}", got, wanted)
                 for item, got, wanted in zip(case["items"], values, numbers, strict=True)]
        pairs += _points(case, answer.get("curves"))
    largest = 0.0
    for what, got, wanted in pairs:
        if wanted is None and got is None:
            continue
        if wanted is None or isinstance(got, bool) or not isinstance(got, int | float) or not math.isfinite(got):
            return verdict("failed", f"{what}: got {got!r}, expected {wanted!r}", math.inf)
        # numbers above 1 are judged by their size
        difference = abs(got - wanted) / max(1.0, abs(wanted))
        largest = max(largest, difference)
        if difference > case["tolerance"]:
            return verdict("failed", f"{what}: got {got!r}, expected {wanted!r} within {case['tolerance']:g}", largest)
    return verdict("passed", "", largest)


def _points(case: Case, curves: Any) -> list[tuple[str, Any, Any]]:
    """The points of the curves that an implementation shows, beside those expected; none where it shows none."""
    wanted = case["expected"].get("curves")
    if wanted is None or curves is None:
        return []
    if not isinstance(curves, list) or len(curves) != len(wanted):
        return [("the number of curves", len(curves) if isinstance(curves, list) else curves, len(wanted))]
    pairs: list[tuple[str, Any, Any]] = []
    for item, got, curve in zip(case["items"], curves, wanted, strict=True):
        what = f"the curve of item {item['id']!r}"
        if curve is None:
            pairs.append((what, got, None))
        elif not isinstance(got, list) or len(got) != len(curve):
            pairs.append((f"the number of points of {what}", len(got) if isinstance(got, list) else got, len(curve)))
        else:
            pairs += [(f"{what}, point {n}", a, b) for n, (a, b) in enumerate(zip(got, curve, strict=True))]
    return pairs


class _Peer:
    """An implementation as a subprocess. An answer that does not come in time, or is no JSON object, is an error message;
    a process that is gone is started again for the next case, so that one crash costs one case."""

    def __init__(self, command: Sequence[str], timeout: float) -> None:
        self.command, self.timeout = list(command), timeout
        self.process: subprocess.Popen[bytes] | None = None
        self.asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.lines: queue.Queue[bytes | None] = queue.Queue()
        self.greeting: Message | None = None

    def __enter__(self) -> _Peer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.process is None:
            return
        try:
            if kind is None:
                self.asked.put(None)  # the end of its input is a way to stop, too
                self.process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.end()

    def ask(self, message: Message) -> Message:
        """The answer to a message, or {"op": "error", "message": ...}."""
        fresh = self.process is None
        try:
            if fresh:
                self._start()
        except OSError as error:
            return {"op": "error", "message": f"{self.command[0]}: {error.strerror}; give the command of an implementation"}
        if message["op"] == "start":
            self.greeting = message
        elif fresh and self.greeting is not None and self._exchange(self.greeting).get("op") != "started":
            self.end()
            return {"op": "error", "message": "did not start again after it had ended"}
        return self._exchange(message)

    def tell(self, message: Message) -> None:
        self.asked.put(json.dumps(message, ensure_ascii=False, allow_nan=False).encode() + b"\n")

    def _start(self) -> None:
        # a session of its own, so that what a shell starts for it ends with it
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.asked, self.lines = queue.SimpleQueue(), queue.Queue(WAITING)
        # both pipes have a thread: one that does not read, or never ends a line, must not stop the driver
        threading.Thread(target=_feed, args=(self.process.stdin, self.asked), daemon=True).start()
        threading.Thread(target=_listen, args=(self.process.stdout, self.lines), daemon=True).start()

    def _exchange(self, message: Message) -> Message:
        self.tell(message)
        try:
            line = self.lines.get(timeout=self.timeout)
        except queue.Empty:
            self.end()
            return {"op": "error", "message": f"no answer within {self.timeout:g} s"}
        if line is None:
            return self._ended()
        try:
            answer = vxp_schemas.loads(line.strip())
        except vxp_schemas.SchemaError as error:
            # what else it says can no longer be told apart from answers to come
            self.end()
            return {"op": "error", "message": f"its line is no strict JSON: {line[:60]!r} ({error})"[:300]}
        if not isinstance(answer, dict):
            self.end()
            return {"op": "error", "message": f"its line is {str(answer)[:60]}, expected a JSON object"}
        return answer

    def _ended(self) -> Message:
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = None if self.process is None else self.process.wait(timeout=GRACE)
        self.end()
        how = "closed its standard output" if code is None else f"ended with exit code {code}"
        return {"op": "error", "message": f"the implementation {how} instead of an answer"}

    def end(self) -> None:
        """End the process and what it started; the next message starts another."""
        if self.process is None:
            return
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.asked.put(None)
        self.process = None


def _feed(stream: IO[bytes], asked: queue.SimpleQueue[bytes | None]) -> None:
    with contextlib.suppress(OSError), stream:
        while (line := asked.get()) is not None:
            stream.write(line)
            stream.flush()


def _listen(stream: IO[bytes], lines: queue.Queue[bytes | None]) -> None:
    with stream:
        while line := stream.readline(MAX_LINE + 1):
            with contextlib.suppress(queue.Full):
                lines.put_nowait(line)
    lines.put(None)


# ------------------------------------------------------------------------------------------------------------- reporting


def matrix(found: Sequence[Checked]) -> list[tuple[str, dict[Outcome, int], float]]:
    """Per metric: its name, cases by outcome, and the largest difference of a number."""
    rows = []
    for metric in dict.fromkeys(c.metric for c in found):
        own = [c for c in found if c.metric == metric]
        counts: dict[Outcome, int] = {kind: sum(c.outcome == kind for c in own) for kind in OUTCOMES}
        rows.append((metric, counts, max(c.difference for c in own)))
    return rows


def remarks(found: Sequence[Checked]) -> list[str]:
    """Per metric the first case of each outcome but `passed`, with its reason."""
    first: dict[tuple[str, Outcome], Checked] = {}
    for c in found:
        if c.outcome != "passed":
            first.setdefault((c.metric, c.outcome), c)
    return [f"{c.outcome}: {c.case}: {c.why}" for c in first.values()]


def main(
    console: Console, command: Sequence[str], *, vectors: Path | None = None, metrics: Sequence[str] = (),
    timeout: float = TIMEOUT, json_path: Path | None = None,
) -> int:
    """Run the cases, print the matrix; the exit code is 0 where nothing failed, 1 otherwise."""
    if json_path is not None and not json_path.parent.is_dir():
        raise VxpError(f"--json {json_path}: there is no folder {json_path.parent}; make it first")
    where = folder(vectors)
    cases = read_cases(where, metrics)
    with console.status(f"{len(cases)} cases") as status:
        name, found = conform(command, where, cases, timeout=timeout, done=lambda c: status.update(c.case))
    table = Table(title=f"Conformance of {escape(name)} to {where.name} of VXP {vxp_schemas.SPEC_VERSION}",
                  title_justify="left", box=None)
    table.add_column("metric", no_wrap=True)
    for head in ("passed", "failed", "skipped", "error", "largest difference"):
        table.add_column(head, justify="right")
    for metric, counts, difference in matrix(found):
        numbers = [str(counts[kind]) if counts[kind] else "" for kind in OUTCOMES]
        table.add_row(escape(metric), *numbers, f"{difference:.1e}" if counts["passed"] else "",
                      style="red" if counts["failed"] + counts["error"] else None)
    console.print(table)
    for remark in remarks(found):
        console.print(escape(remark), highlight=False, soft_wrap=True)
    total = {kind: sum(c.outcome == kind for c in found) for kind in OUTCOMES}
    verdict = conforms(found)
    console.print(f"{'conforms' if verdict else 'does not conform'}: " + ", ".join(f"{n} {kind}" for kind, n in total.items())
                  + f" of {len(found)} cases")
    if json_path is not None:
        document = {"implementation": name, "command": list(command), "spec_version": vxp_schemas.SPEC_VERSION,
                    "conforms": verdict, "cases": [asdict(c) | {"difference": _finite(c.difference)} for c in found]}
        json_path.write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return 0 if verdict else 1


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def conforms(found: Sequence[Checked]) -> bool:
    """Whether nothing failed, nothing was an error, and something passed."""
    return all(c.outcome in ("passed", "skipped") for c in found) and any(c.outcome == "passed" for c in found)
