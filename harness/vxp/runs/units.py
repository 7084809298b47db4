"""What a run consists of: its units of work, which are planned once and done in any order that their stages allow.

A unit is (stage, explainer, range of items), a pure function of its inputs, and a file. One whose file is there is not done
again. `shared` is what no map decides (targets, predictions, rows that all explainers read) and comes first; `explain` makes
the maps of an explainer, `score` reads them back and scores them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from vxp.explainers import BoundExplainer
from vxp.machine import give_back_memory
from vxp.runs import baselines, explanations, scoring
from vxp.runs.context import Context

Stage = Literal["explain", "score"]
OFTEN = 16
"""Parts of the work after which freed memory goes back to the kernel: it costs milliseconds."""


@dataclass(frozen=True)
class System:
    """An explainer of a run, the id of its set, and whether its maps were made elsewhere and are only scored."""

    bound: BoundExplainer
    set_id: str
    carried: bool = False

    @classmethod
    def of(cls, context: Context, bound: BoundExplainer) -> System:
        return cls(bound, explanations.set_id(context, bound))


@dataclass(frozen=True)
class Work:
    """What one worker does in one go: the units of a range that follow each other. system: the place of the explainer among
    those of the run; None for what all of them share."""

    start: int
    stop: int
    system: int | None = None
    stages: tuple[Stage, ...] = ()

    @property
    def items(self) -> int:
        return self.stop - self.start


class Executor(Protocol):
    """Does all of a list of work, in any order, with progress; an error ends the run."""

    def do(self, context: Context, systems: Sequence[System], work: Sequence[Work]) -> None: ...


class Local:
    """In this process, one after another."""

    def do(self, context: Context, systems: Sequence[System], work: Sequence[Work]) -> None:
        for number, one in enumerate(work, 1):
            done(context, systems, one)
            context.progress.items(one.items)
            if number % OFTEN == 0:
                give_back_memory()


def done(context: Context, systems: Sequence[System], work: Work) -> None:
    """Do the units of some work that are not there yet."""
    if work.system is None:
        baselines.make(context, work.start, work.stop)
        return
    system = systems[work.system]
    if "explain" in work.stages:
        explanations.make(context, system.bound, system.set_id, work.start, work.stop)
    if "score" in work.stages:
        scoring.make(context, system.bound, system.set_id, work.start, work.stop)


def shared(context: Context) -> list[Work]:
    """What all explainers share and is not there yet."""
    return [Work(a, b) for a, b in context.ranges() if not context.units.done(baselines.name(a))]


def planned(context: Context, systems: Sequence[System], stages: Sequence[Stage]) -> list[Work]:
    """What is left to do of these stages: all explainers of a range, then the next range, so that a range is loaded once."""
    whole = [explanations.whole(context, system.set_id) for system in systems]
    found = []
    for a, b in context.ranges():
        for place, system in enumerate(systems):
            left = tuple(s for s in stages if not _there(context, system, s, a, whole[place]))
            if left:
                found.append(Work(a, b, place, left))
    return found


def _there(context: Context, system: System, stage: Stage, start: int, whole: bool) -> bool:
    if stage == "explain":
        return whole or system.carried or context.units.done(explanations.name(system.set_id, start))
    return context.units.done(scoring.name(system.set_id, start))




__all__ = ["Executor", "Local", "Stage", "System", "Work", "done", "planned", "shared"]
