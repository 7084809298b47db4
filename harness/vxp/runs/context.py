"""What every stage of a run needs: settings, progress, the folder, the engine."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
import vxp_schemas
from torch import Tensor
from vxp_schemas import typed

from vxp import clock, division, machine, models, outputs
from vxp.core import Batch
from vxp.documents import store
from vxp.engine import MEMORY, Engine, Precision, Trace, Wanted, best_batch_size, fitting, traces
from vxp.errors import VxpError
from vxp.machine import computing
from vxp.metrics import Bound, bind_all
from vxp.models import Model
from vxp.runs import looking
from vxp.stats.sequential import Until
from vxp.tasks import Loaded, Task

log = logging.getLogger("vxp")
UNIT = 8
"""Items of a unit of work: small enough to lose, large enough to fill a model batch."""
UNITS = ".units"
"""The folder of finished units in that of a run."""


class Progress(Protocol):
    """What long work reports: a stage with its number of items, items done, and model rows done."""

    def stage(self, title: str, items: int, what: str = "item") -> None: ...
    def items(self, n: int) -> None: ...
    def rows(self, n: int) -> None: ...


class Quiet:
    """Progress that is not shown."""

    def stage(self, title: str, items: int, what: str = "item") -> None:
        return

    def items(self, n: int) -> None:
        return

    def rows(self, n: int) -> None:
        return


@dataclass(frozen=True)
class Settings:
    """How a run computes. Chosen once, stored with the run and used again by resume; memory is not stored, since no number
    depends on more of it than the batch size."""

    device: str = "cpu"
    precision: Precision = "fp32"
    batch_size: int = 16
    threads: int = 1
    limit: int | None = None
    memory: int = MEMORY
    compile: bool = False
    until: Until | None = None


@dataclass(frozen=True, eq=False)
class Context:
    """What every stage of a run needs."""

    task: Task
    model: Model
    metrics: tuple[Bound, ...]
    settings: Settings
    out: Path
    progress: Progress

    @classmethod
    def of(
        cls, task: Task, model: Model, out: Path, settings: Settings, metrics: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Context:
        """The context of a run into `out`, of as many items as the settings say; metrics: as requested, those of the task's
        card where none is, and None for a run that scores nothing."""
        task = task.limited(settings.limit) if settings.until is None else task.drawn
        return cls(task, model, () if metrics is None else chosen(task, metrics), settings, out, progress or Quiet())

    def under(self, settings: Settings) -> Context:
        """The same run under these settings; what its metrics ask is known once."""
        return self._but("relabelled", "traces", "wanted", "_wanted_of_size", settings=settings)

    def on(self, task: Task) -> Context:
        """The same run of more or fewer items of its task in the same order, with its engine and all else that is the same for
        any number of them."""
        return self._but("relabelled", "traces", "wanted", "_wanted_of_size", "engine", "last", "_loaded", task=task)

    def _but(self, *known: str, **changes: Any) -> Context:
        """Another context of this run, which has of what was found so far what is named."""
        other = replace(self, **changes)
        other.__dict__.update({name: value for name, value in self.__dict__.items() if name in known})
        return other

    @property
    def settings_document(self) -> typed.Settings:
        own = self.settings
        # batches of one size, one thread count and no benchmark of kernels: equal bytes on equal machines
        found: typed.Settings = {
            "device": own.device, "precision": own.precision, "batch_size": own.batch_size, "threads": own.threads,
            "limit": self.task.limit, "deterministic": True, "seed": self.task.seed, "compile": own.compile,
            "channels_last": models.lies_channels_last(self.model.module)}
        if own.until is not None:
            found["until"] = str(own.until)
        return found

    @property
    def division(self) -> typed.Division:
        """`closed` where nothing stands against it (clause 12.2.2)."""
        against = division.reasons(
            task=self.task.reference, model=vxp_schemas.reference(self.model.document), taken=self.task.taken,
            signatures=[b.signature for b in self.metrics])
        return "open" if any(against) else "closed"

    @property
    def units(self) -> store.Units:
        return store.Units(self.out / UNITS)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The items of every unit. A unit ends where a run that may stop looks, so that it is the same when the run goes on."""
        begin = 0
        for end in (len(self.task.items),) if self.settings.until is None else looking.ends(self.task):
            for first, last in self.task.runs_alike(begin, end):
                yield from ((start, min(start + UNIT, last)) for start in range(first, last, UNIT))
            begin = end

    @cached_property
    def engine(self) -> Engine:
        """One engine for the run: a randomised copy of the model is made once."""
        return Engine(self.model.module, self.settings.batch_size, self.settings.precision, self.progress.rows,
                      relabelled=self.relabelled, memory=self.settings.memory, compile=self.settings.compile)

    @property
    def output(self) -> outputs.Output:
        """What the model's numbers are: `engine.output`, without an engine."""
        return outputs.of(self.model.module)

    @cached_property
    def relabelled(self) -> torch.nn.Module | None:
        """The twin of the model that was trained on permuted labels, where there is one."""
        return models.relabelled(self.model.id, self.settings.device)

    @cached_property
    def sets(self) -> dict[str, Any]:
        """Sets on disk that were opened so far, by id (`explanations.Stored`)."""
        return {}

    @cached_property
    def last(self) -> dict[int, Any]:
        """What all explainers share of the range that was asked for last, by its start (`baselines.read`): one, so that memory
        does not grow with the items."""
        return {}

    @cached_property
    def _loaded(self) -> dict[tuple[int, int], Loaded]:
        return {}

    def loaded(self, start: int, stop: int) -> Loaded:
        """Items start..stop as the model takes them. The last that were asked for are kept: all explainers take a range one
        after another, and to load it costs as much as two or three passes."""
        if (start, stop) not in self._loaded:
            self._loaded.clear()
            with clock.stage("loading"):
                self._loaded[start, stop] = self.task.load(start, stop, self.model)
        return self._loaded[start, stop]

    def batch(self, start: int, stop: int, targets: Tensor) -> Batch:
        """Items start..stop, with these classes to explain, on the device of the run."""
        return self.loaded(start, stop).batch(targets).to(self.settings.device)

    @cached_property
    def traces(self) -> dict[str, Trace]:
        """What each metric of this kind asks of one item, by signature: the rows of a run are known before it."""
        return self._traced(0)

    def _traced(self, place: int) -> dict[str, Trace]:
        possible = [b for b in self.metrics if not b.metric.needs_relabelled or self.relabelled is not None]
        batch = self.task.load(place, place + 1, self.model).batch(torch.zeros(1, dtype=torch.int64))
        return traces(possible, batch, self.task.kinds, self.output)

    @cached_property
    def wanted(self) -> Wanted:
        """What the metrics ask of an item whatever its map is; of items of different sizes, of the first."""
        return Wanted.of(trace.wanted for trace in self.traces.values())

    def wanted_of(self, place: int) -> Wanted:
        """The same of the item at this place, and of all items of its size."""
        size = self.task.source.alike
        if size is None:
            return self.wanted
        kept = self._wanted_of_size
        if (key := size(self.task.items[place])) not in kept:
            kept[key] = Wanted.of(trace.wanted for trace in self._traced(place).values())
        return kept[key]

    @cached_property
    def _wanted_of_size(self) -> dict[object, Wanted]:
        return {}


def chosen(task: Task, asked: Sequence[str]) -> tuple[Bound, ...]:
    """The metrics as asked for, or those of the task's card; VxpError where one needs truth that the task has not."""
    wanted = bind_all(list(asked) or list(task.metrics))
    lacking = [b.metric.id for b in wanted if b.metric.truth and not set(b.metric.truth) & set(task.truth)]
    if lacking:
        raise VxpError(f"task {task.name} has {'the truth ' + ', '.join(task.truth) if task.truth else 'no truth'}, and "
                       f"{', '.join(lacking)} need another: leave them out of --metrics")
    return wanted


@dataclass(frozen=True)
class Asked:
    """Settings as asked for: None is chosen."""

    device: str
    precision: Precision
    batch_size: int | None
    threads: int | None
    limit: int | None
    memory: int = MEMORY
    compile: bool = False
    until: Until | None = None


SHARE = 20
"""The search for the best batch size runs at most one row for so many of the run."""


def choose_settings(task: Task, model: Model, out: Path, asked: Asked, rows: Callable[[], int]) -> Settings:
    """The settings of a run: those stored in `out` where a run is there, else as asked, with the best batch size that the
    memory for rows holds; VxpError where it holds no row. rows: how many the run has, which only a search for that size asks.

    The best batch size of a model is kept in the user's cache by all that it depends on.
    """
    batch_size, threads = asked.batch_size, asked.threads
    stored = out / "run.json"
    if stored.exists():
        settings = store.read_document(stored, typed.Run)["settings"]
        batch_size = batch_size or int(settings["batch_size"])
        threads = threads or int(settings["threads"])
    threads = threads or os.cpu_count() or 1
    first = task.load(0, 1, model).inputs
    most = fitting(first[0], asked.memory)
    if batch_size is None:
        largest = min(most, 1024 if asked.device == "cuda" else 64)
        key = vxp_schemas.digest([vxp_schemas.reference(model.document), device_name(asked.device), threads, largest,
                                  list(first.shape[1:]), torch.__version__, asked.precision, asked.compile,
                                  models.lies_channels_last(model.module)])
        batch_size = machine.kept("batch-sizes", key)
        if batch_size is None:
            engine, inputs = Engine(model.module, precision=asked.precision, compile=asked.compile), first.to(asked.device)
            may = rows() // SHARE
            with computing(threads), engine.arithmetic(inputs.device):
                batch_size = best_batch_size(engine.forward, inputs, start=min(8, most), limit=largest, rows=may)
            if may >= ENOUGH * largest:
                machine.keep("batch-sizes", key, batch_size)
            log.info("batch size %d gives the best throughput on %s", batch_size, asked.device)
    return Settings(asked.device, asked.precision, min(batch_size, most), threads, asked.limit, asked.memory, asked.compile,
                    asked.until)


ENOUGH = 6
"""Rows of a whole search over its largest batch size: three of each of 1, 1/2, 1/4 ... of it."""


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device
