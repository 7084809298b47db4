"""A worker of a cluster: makes a run again from the words of its command, shows that it is the same run, and does its work.

What goes between driver and worker is plain data, so that neither needs more of the other than this module.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

import torch
import vxp_schemas

from vxp.documents import store
from vxp.errors import NotWrittenError, VxpError
from vxp.machine import computing
from vxp.runs import baselines, explanations, result, scoring, units
from vxp.runs.context import UNITS, Context, Progress, device_name
from vxp.runs.units import Stage, System, Work

TOKEN = "driver"
"""The file, beside the units, in which the driver of a run says by a random word that it is the one."""
PLUGINS = ("vxp.explainers", "vxp.metrics", "vxp.datasets")
"""Groups of entry points whose packages are part of the code."""


@dataclass(frozen=True)
class Told:
    """What a driver says of an explainer of the run: its name, the id of its set, and whether its maps were made elsewhere."""

    name: str
    set_id: str
    carried: bool

    @classmethod
    def of(cls, system: System) -> Told:
        return cls(system.bound.name, system.set_id, system.carried)


class Again(Protocol):
    """The words of a command, of which another process makes its run again. They are pickled."""

    def context(self, progress: Progress) -> Context: ...
    def systems(self, context: Context, told: Sequence[Told]) -> list[System]: ...


@dataclass(frozen=True)
class Given:
    """What a worker starts with: the words, the explainers, the folders of the run and of the command, the driver's token, and
    the facts that must be the same."""

    again: Again
    told: tuple[Told, ...]
    out: Path
    here: Path
    token: str
    threads: int
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Done:
    """What became of some work, and what was warned of on the way."""

    node: str
    rows: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why work was not done: the unit, where, and the worker's log there; an error that the user can mend says how."""

    node: str
    unit: str
    kind: Literal["input", "not-written", "code"]
    why: str
    log: str

    def error(self) -> VxpError:
        """As the driver raises it."""
        if self.kind == "not-written":
            return NotWrittenError(f"{self.unit} on {self.node}: {self.why}")
        if self.kind == "input":
            return VxpError(f"{self.unit} on {self.node}: {self.why}")
        return VxpError(f"{self.unit} on {self.node} failed: {self.why}. The worker's log there says where: {self.log}. "
                        "Finished units are kept: the same command goes on")


# ---------------------------------------------------------------------------------------------------------- what it is


def code_facts() -> dict[str, str]:
    """What the code of this process is, known before a model is loaded."""
    return {"version of vxp": version("vxp"), "code of vxp and its plugins": code_digest(),
            "version of torch": torch.__version__}


def facts(context: Context, systems: Sequence[System]) -> dict[str, str]:
    """All that the units of a run depend on beside its settings, in words for a person."""
    model, task = vxp_schemas.reference(context.model.document), context.task.grows  # a run that may stop takes more and more
    return code_facts() | {
        "device": device_name(context.settings.device),
        "weights of the model": context.model.digest, "document of the model": f"{model['id']} {model['digest']}",
        "task": f"{task['id']}@{task['version']} {task['digest']}",
    } | {f"explainer {s.bound.name}": result.system_digest(s.bound) for s in systems}


def code_digest() -> str:
    """SHA-256 over the Python files of vxp, of its schemas and of every package that announces something to it."""
    tops = {"vxp", "vxp_schemas", *(p.module.partition(".")[0] for group in PLUGINS for p in entry_points(group=group))}
    hasher = hashlib.sha256()
    for top in sorted(tops):
        for name, path in _files(top):
            hasher.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return f"sha256:{hasher.hexdigest()}"


def _files(top: str) -> Iterator[tuple[str, Path]]:
    """The Python files of a package, or of a module, with their names in it."""
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        return
    file = Path(spec.origin)
    if spec.submodule_search_locations is None:
        yield file.name, file
        return
    for path in sorted(file.parent.rglob("*.py")):
        yield path.relative_to(file.parent.parent).as_posix(), path


TO_DO: Mapping[str, str] = {
    "device": "give the cluster nodes with one kind of device, which the results name",
    "weights of the model": "put the same weights where every node finds them",
    "document of the model": "put the same model where every node finds it",
    "task": "put the same data where every node finds them",
}
"""What to do about a fact that differs; everything else is code."""


def check(got: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """VxpError that names every fact that is another than the driver's."""
    differs = [f"{what}: got {got[what]}, expected {expected.get(what)}" for what in got if got[what] != expected.get(what)]
    if differs:
        to_do = {TO_DO.get(what, "install the same packages and the same files on every node") for what in got
                 if got[what] != expected.get(what)}
        raise VxpError(f"this worker is not what the driver is ({'; '.join(differs)}): {', and '.join(sorted(to_do))}")


def write_token(out: Path, token: str) -> None:
    store.write_bytes(out / UNITS / TOKEN, token.encode())


def check_token(out: Path, token: str) -> None:
    """VxpError unless this process sees what the driver wrote into the folder of the run."""
    path = out / UNITS / TOKEN
    try:
        got = store.read_file(path).decode()
    except FileNotFoundError:
        raise VxpError(f"{path} is not here, and the driver has written it: --out must be a folder of a file system that all "
                       "nodes share, under the same path") from None
    if got != token:
        raise VxpError(f"{path} holds the token {got[:8]}..., expected {token[:8]}... of the driver of this worker: --out is "
                       "another folder here, or another driver has taken the run over")


# ----------------------------------------------------------------------------------------------------------- what it does


@dataclass
class Counted:
    """Progress that is counted, for the driver to show."""

    count: int = 0

    def stage(self, title: str, items: int, what: str = "item") -> None:
        return

    def items(self, n: int) -> None:
        return

    def rows(self, n: int) -> None:
        self.count += n


class Kept(logging.Handler):
    """Keeps the words of warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(record.getMessage())


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """The words of what is warned of."""
    kept, log = Kept(), logging.getLogger("vxp")
    log.addHandler(kept)
    try:
        yield kept.words
    finally:
        log.removeHandler(kept)


class Worker:
    """What Ray makes an actor of. It answers every call, also one that fails: what Ray raises is the end of a process."""

    def __init__(self, given: Given) -> None:
        self.given, self.counted, self.unit = given, Counted(), ""

    def ready(self) -> Done | Failure:
        """Load what is needed, and show that it is what the driver has."""
        return self._answered(None)

    def do(self, work: Work) -> Done | Failure:
        """Do the units of some work that are not there yet."""
        return self._answered(work)

    def _answered(self, work: Work | None) -> Done | Failure:
        before, self.unit = self.counted.count, "starting a worker"
        kind: Literal["input", "not-written", "code"]
        try:
            with _warnings() as words:
                check_token(self.given.out, self.given.token)
                with computing(self.given.threads):
                    context, systems = self._run
                    if work is not None:
                        self._do(context, systems, work)
            return Done(node(), self.counted.count - before, tuple(words))
        except VxpError as error:
            kind, why = "not-written" if isinstance(error, NotWrittenError) else "input", str(error)
        except Exception as error:  # whatever a model or an explainer does is told to the driver
            traceback.print_exc()
            kind, why = "code", f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        return Failure(node(), self.unit, kind, why, log_file())

    def _do(self, context: Context, systems: Sequence[System], work: Work) -> None:
        if work.system is None:
            self.unit = f"unit {baselines.name(work.start)}"
            units.done(context, systems, work)
        for stage in work.stages:
            self.unit = f"unit {unit(systems[work.system or 0].set_id, stage, work.start)}"
            units.done(context, systems, replace(work, stages=(stage,)))

    @cached_property
    def _run(self) -> tuple[Context, Sequence[System]]:
        """The run, once it is shown to be the driver's."""
        given = self.given
        if given.here.is_dir():  # where it is not, paths of the command that lead from there are not found, which is said
            os.chdir(given.here)
        check(code_facts(), given.facts)
        context = given.again.context(self.counted)
        systems = given.again.systems(context, given.told)
        check(facts(context, systems), given.facts)
        return context, systems


def unit(of_set: str, stage: Stage, start: int) -> str:
    """The name of a unit of an explainer."""
    return explanations.name(of_set, start) if stage == "explain" else scoring.name(of_set, start)


def node() -> str:
    """Which process this is, in words for a person."""
    import ray

    return f"node {socket.gethostname()} (Ray's {ray.get_runtime_context().get_node_id()[:8]}, process {os.getpid()})"


def log_file() -> str:
    """The file in which Ray keeps what this process writes to standard error."""
    try:
        return os.readlink("/proc/self/fd/2")
    except OSError:
        return f"/tmp/ray/session_latest/logs, the file of process {os.getpid()}"


__all__ = ["Again", "Done", "Failure", "Given", "Told", "Worker", "facts", "unit", "write_token"]
