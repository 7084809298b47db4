"""The workers of a Ray cluster as the executor of a run.

1. Ray places the workers, an actor each, and starts one again, on another node if need be, when its process or node is lost.
2. A worker shows that it is what the driver is (`cluster_worker.facts`) before it does anything.
3. The driver gives each worker one unit at a time, of the range of items that it has loaded. Units are files and the same
   whoever does them, so that what a lost worker had goes to another one.
4. What a worker cannot do ends the run, with the unit and the node; finished units are kept.
"""

from __future__ import annotations

import logging
import math
import os
import re
import secrets
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from vxp.errors import VxpError
from vxp.runs import baselines
from vxp.runs.cluster_worker import Again, Done, Failure, Given, Told, Worker, facts, unit, write_token
from vxp.runs.context import Context, Progress
from vxp.runs.units import System, Work

log = logging.getLogger("vxp")
RETRIES = 3
"""How often a unit is begun again whose worker was lost."""
ANSWERS = 10.0
"""Seconds in which the head of a cluster answers."""
STARTS = 600.0
"""Seconds in which there is a worker that does something."""
PAUSE = 1.0
"""Seconds after which a worker that is lost is asked again whether it is back."""
SEEN = 120.0
"""Seconds in which a file that one node has written is seen on another: file systems remember that it was not there."""
STORE = 100 * 2**20
"""Bytes of the object store of a cluster that is begun for the run: what goes through it is small."""
EVENLY = 4
"""Parts of the work for a worker, at least, so that all end at about the same time."""


@dataclass(frozen=True)
class Place:
    """Where the workers are, in the words of the command line. address: HOST:PORT of the head of a cluster; None for the one
    that this machine belongs to, or else one that is begun here for the run. workers: None for as many as there is room for.
    gpus: of each worker; None for one where the run is on GPUs."""

    address: str | None = None
    workers: int | None = None
    gpus: float | None = None


@contextmanager
def opened(place: Place, again: Again) -> Iterator[Cluster]:
    """The executor of one run; its workers end with it."""
    executor = Cluster(place, again)
    try:
        yield executor
    finally:
        executor.close()


class Cluster:
    """The executor. Nothing is started before there is work."""

    def __init__(self, place: Place, again: Again) -> None:
        self.place, self.again = place, again
        self.crew: _Crew | None = None
        self.ray: Any = None
        self.ours = False  # whether the connection to Ray is ours to end

    def do(self, context: Context, systems: Sequence[System], work: Sequence[Work]) -> None:
        """Do all of the work; VxpError where a worker is not what the driver is, or cannot do it."""
        if self.crew is None:
            self.crew = self._started(context, systems)
        self.crew.do(work, context.progress)
        _see(context, systems, work)

    def close(self) -> None:
        """End the workers, and Ray's connection where it was begun here."""
        if self.crew is not None:
            self.crew.end()
        if self.ours:
            self.ray.shutdown()
        self.crew, self.ours = None, False

    def _started(self, context: Context, systems: Sequence[System]) -> _Crew:
        told = tuple(Told.of(system) for system in systems)
        self.again.systems(context, told)  # says which explainers no other process finds
        ray = self.ray = _ray()
        self.ours = _joined(ray, self.place.address)
        needs = self._needs(context)
        token = secrets.token_hex(16)
        write_token(context.out, token)
        given = Given(self.again, told, context.out.resolve(), Path.cwd(), token, context.settings.threads,
                      facts(context, systems))
        room = sum(_fits(node["Resources"], needs) for node in ray.nodes() if node["Alive"])
        if not room:
            raise VxpError(f"no node of the cluster has room for a worker, which needs {_said(needs)}: the nodes have "
                           f"{_nodes(ray)}. Choose fewer --threads or --gpus-per-worker, or add nodes")
        count = self.place.workers or room
        if count > room:
            log.warning("the cluster has room for %d workers, and %d are asked for: the others begin once there is more", room,
                        count)
        return _Crew(ray, [_actor(ray, given, needs, given.threads) for _ in range(count)], needs, told)

    def _needs(self, context: Context) -> dict[str, float]:
        """What a worker takes of a node: on a CPU its threads, on GPUs these."""
        gpus = self.place.gpus if self.place.gpus is not None else float(context.settings.device == "cuda")
        if context.settings.device == "cuda" and gpus <= 0:
            raise VxpError(f"--gpus-per-worker {gpus:g} on --device cuda: expected more than 0, such as 1, or 0.5 for two "
                           "workers on a GPU")
        return {"CPU": 1.0 if gpus else float(context.settings.threads), "GPU": gpus}


def _ray() -> Any:
    """Ray, which tells nobody that it is used."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise VxpError("--executor ray needs Ray, which is not installed: pip install 'vxp[ray]', on every node of the "
                       "cluster") from None
    return ray


def _joined(ray: Any, address: str | None) -> bool:
    """Whether a connection was begun; False where this process has one. VxpError where there is no cluster."""
    if ray.is_initialized():
        return False
    address = address or os.environ.get("RAY_ADDRESS")
    how: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address is None:
        try:
            ray.init("auto", **how)
        except ConnectionError:
            ray.init("local", include_dashboard=False, object_store_memory=STORE, **how)
        return True
    host, _, port = address.rpartition(":")
    if "/" in address or (address != "auto" and not (host and port.isdigit())):
        raise VxpError(f"--address {address!r}: expected HOST:PORT of the cluster's head, such as 10.0.0.1:6379, as `ray start "
                       "--head` prints it")
    to_do = ("start one with `ray start --head` there and `ray start --address` on the other nodes, and begin the command on "
             "one of them")
    try:
        if address != "auto":
            socket.create_connection((host, int(port)), ANSWERS).close()
        ray.init(address, **how)
    except OSError as error:  # ConnectionError is one
        raise VxpError(f"--address {address}: no Ray cluster answers in {ANSWERS:g} s ({error}); {to_do}") from None
    except (RuntimeError, ValueError) as error:
        raise VxpError(f"--address {address}: {_short(error)}; {to_do}") from None
    return True


def _fits(has: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """How many workers there is room for on a node."""
    return min(math.floor(has.get(what, 0.0) / amount) for what, amount in needs.items() if amount)


def _said(needs: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {what}" for what, amount in needs.items() if amount)


def _nodes(ray: Any) -> str:
    return "; ".join(f"{n['NodeManagerHostname']} {_said({w: n['Resources'].get(w, 0.0) for w in ('CPU', 'GPU')}) or 'nothing'}"
                     for n in ray.nodes() if n["Alive"]) or "nothing: there are none"


def _actor(ray: Any, given: Given, needs: Mapping[str, float], threads: int) -> Any:
    environment = {"OMP_NUM_THREADS": str(threads)}  # Ray would set another number
    options = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"], "max_restarts": -1, "max_task_retries": 0,
               "scheduling_strategy": "SPREAD", "runtime_env": {"env_vars": environment}}
    return ray.remote(**options)(Worker).remote(given)


def _short(error: BaseException) -> str:
    """The first and the last line of what Ray says at length, without its colours."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines() if line.strip()]
    return " ".join(lines[:1] + lines[-1:] if len(lines) > 1 else lines)[:600]


# ------------------------------------------------------------------------------------------------------------- the crew


@dataclass(eq=False)
class _Call:
    """What a worker is doing: some work, or getting ready."""

    worker: int
    work: Work | None


class _Crew:
    """The workers, and what each of them does. One that was lost is asked to get ready again, and has an answer once Ray has
    room for it; the others go on meanwhile."""

    def __init__(self, ray: Any, actors: Sequence[Any], needs: Mapping[str, float], told: Sequence[Told]) -> None:
        self.ray, self.actors, self.needs, self.told = ray, actors, needs, told
        self.idle: list[int] = []
        self.calls: dict[Any, _Call] = {}
        self.nodes: dict[int, str] = {}
        self.lost: Counter[Work] = Counter()  # how many workers were, at this work
        self.away: dict[int, float] = {}  # workers that are lost, and when they are asked again
        self.why = ""  # the last of them was lost
        for worker in range(len(actors)):
            self._get_ready(worker)

    def do(self, work: Sequence[Work], progress: Progress) -> None:
        """Do all of the work."""
        parts, back = bundled(work, len(self.actors)), deque[Work]()
        own: dict[int, deque[Work]] = {}
        left, heard = len(work), time.monotonic()
        while left:
            for worker in [w for w, due in self.away.items() if due < time.monotonic()]:
                del self.away[worker]
                self._get_ready(worker)
            for worker in self.idle[:]:
                if not own.get(worker):
                    own[worker] = deque([back.popleft()] if back else next(parts, ()))
                if own[worker]:
                    self.idle.remove(worker)
                    self._call(worker, own[worker].popleft())
            answered: Sequence[Any] = ()
            if self.calls:
                answered, _ = self.ray.wait(list(self.calls), num_returns=1, timeout=PAUSE)
            else:
                time.sleep(PAUSE)
            for ref in answered:
                call = self.calls.pop(ref)
                answer = self._answer(ref, call)
                if answer is None:  # the worker is lost
                    back.extend([*filter(None, [call.work]), *own.pop(call.worker, ())])
                    continue
                self.idle.append(call.worker)
                progress.rows(answer.rows)
                if call.work is not None:
                    left -= 1
                    progress.items(call.work.items)
            if any(call.work for call in self.calls.values()):
                heard = time.monotonic()
            elif time.monotonic() - heard > STARTS:
                raise VxpError(f"no worker has begun in {STARTS:g} s{self.why and f' ({self.why})'}; each needs "
                               f"{_said(self.needs)}, and the cluster has {_nodes(self.ray)}: is it used by others? `ray "
                               "status` shows")

    def end(self) -> None:
        """End the workers, where Ray is still there."""
        with suppress(self.ray.exceptions.RayError, OSError, RuntimeError):
            for actor in self.actors:
                self.ray.kill(actor)

    def _call(self, worker: int, work: Work) -> None:
        self.calls[self.actors[worker].do.remote(work)] = _Call(worker, work)

    def _get_ready(self, worker: int) -> None:
        # without an answer for as long as Ray has no room for the worker
        self.calls[self.actors[worker].ready.remote()] = _Call(worker, None)

    def _answer(self, ref: Any, call: _Call) -> Done | None:
        """What a worker answers; None where it is lost. VxpError where it says that it cannot, or is lost too often."""
        try:
            answer: Done | Failure = self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            self._lose(call, error)
            return None
        if isinstance(answer, Failure):
            raise answer.error()
        self.nodes[call.worker] = answer.node
        for words in answer.warnings:
            log.warning("%s: %s", answer.node, words)
        return answer

    def _lose(self, call: _Call, error: Exception) -> None:
        self.why, where = _short(error), self.nodes.get(call.worker, "a node")
        if isinstance(error, self.ray.exceptions.ActorDiedError):  # Ray begins it again, unless it cannot begin at all
            raise VxpError(f"a worker cannot begin: {self.why}. Expected Ray and vxp, each the same, on every node") from None
        self.away[call.worker] = time.monotonic() + PAUSE
        if call.work is None:  # between two units, or before the first
            log.warning("the worker on %s is lost (%s)", where, self.why)
            return
        self.lost[call.work] += 1
        log.warning("the worker on %s is lost (%s); its units go to others", where, self.why)
        if self.lost[call.work] > RETRIES:
            raise VxpError(f"unit {self._named(call.work)} has ended {self.lost[call.work]} workers, the last on {where}: "
                           f"{self.why}. Is there too little memory? Try fewer workers on a node, or a smaller --batch-size in "
                           "another --out") from None

    def _named(self, work: Work) -> str:
        if work.system is None:
            return baselines.name(work.start)
        return " or ".join(unit(self.told[work.system].set_id, stage, work.start) for stage in work.stages)


def bundled(work: Sequence[Work], workers: int) -> Iterator[Sequence[Work]]:
    """The work in parts, each for one worker: what is of one range of items stays together, since a range is loaded once for
    all explainers, unless there are so few ranges that workers would have nothing to do."""
    ranges = len({one.start for one in work})
    cuts = max(1, math.ceil(EVENLY * workers / max(ranges, 1)))
    for _, same in groupby(work, key=lambda one: one.start):
        some = list(same)
        size = math.ceil(len(some) / cuts)
        yield from (some[i : i + size] for i in range(0, len(some), size))


def _see(context: Context, systems: Sequence[System], work: Sequence[Work]) -> None:
    """Wait until this machine sees the files of all units; VxpError where it does not."""
    until = time.monotonic() + SEEN
    for one in work:
        names = [baselines.name(one.start)] if one.system is None else [
            unit(systems[one.system].set_id, stage, one.start) for stage in one.stages]
        for name in names:
            while not context.units.done(name):
                if time.monotonic() > until:
                    raise VxpError(f"the unit {name}, which a worker has written, is not in {context.out} after {SEEN:g} s: "
                                   "expected a file system that all nodes share")
                # a folder that is listed is asked for anew of a server
                os.listdir((context.units.folder / name).parent)
                time.sleep(0.1)


__all__ = ["Cluster", "Place", "bundled", "opened"]
