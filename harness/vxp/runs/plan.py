"""What a run takes, known before it: units, rows, model passes and bytes, for any number of items, and from them its hours.

Everything is counted on one item and multiplied. The rows are those that the results report, except of metrics that choose
by an answer what they ask next, which are counted with made-up answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vxp.core import Readout
from vxp.errors import VxpError
from vxp.explainers import BoundExplainer
from vxp.runs import looking, scoring
from vxp.runs.context import UNIT, Context


@dataclass(frozen=True)
class Explained:
    """What one explainer takes of a run. asked: rows that its metrics ask for; run: those of them that are run for it; again:
    maps that metrics have made again; passes: of the model, forward and backward, for maps, rows and maps made again."""

    name: str
    reference: bool
    scores: int
    asked: int
    run: int
    again: int
    passes: int


@dataclass(frozen=True)
class Bytes:
    """What a run keeps. maps: float32, at most: on the input grid; shared: readouts, vectors and labels of what all explainers
    read; scores: numbers, curves and statistics. What files take beside their contents comes on top."""

    maps: int
    shared: int
    scores: int


@dataclass(frozen=True)
class Look:
    """Where a run that stops at a question looks whether it is decided: after so many clusters and items, in so many ranges,
    with so many passes of the model."""

    clusters: int
    items: int
    ranges: int
    passes: int


@dataclass(frozen=True)
class Plan:
    """What a run of so many items takes. units: files of work, that of a range of items is one of what all share, and of every
    explainer one of maps and one of scores; rows_*: `cost.run` of a result; passes: of the model in all, the predictions of the
    items included, a backward pass counted as one. looks: of a run that stops at a question; all else is then what it takes at
    most, with all items."""

    items: int
    ranges: int
    units: int
    rows_asked: int
    rows_run: int
    rows_shared: int
    passes: int
    bytes: Bytes
    explainers: tuple[Explained, ...]
    looks: tuple[Look, ...] = ()

    def hours(self, rate: float, workers: int, passes: int | None = None) -> float:
        """With so many workers, each of which runs so many passes a second all the time; passes: those of a look."""
        return (self.passes if passes is None else passes) / (rate * workers) / 3600

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def planned(context: Context, systems: Sequence[BoundExplainer], items: int) -> Plan:
    """The plan of a run of these explainers, the references among them, over so many items like those of the task; VxpError for
    other items than its own where it stops at a question, which is looked at after so many of its clusters."""
    if items < 1:
        raise VxpError(f"--items {items}: expected at least 1")
    if context.settings.until is not None and items != len(context.task.items):
        raise VxpError(f"--items {items} and --until: when a run looks depends on the task's own clusters, so leave out one of "
                       "the two")
    wanted = context.wanted
    ranges = math.ceil(items / UNIT) if context.settings.until is None else len(list(context.ranges()))
    explained = tuple(_explained(context, bound, items) for bound in systems)
    shared = items * len(wanted.edits)
    passes = items + shared + sum(one.passes for one in explained)
    return Plan(
        items=items, ranges=ranges, units=ranges * (1 + 2 * len(systems)),
        rows_asked=sum(one.asked for one in explained), rows_run=shared + sum(one.run for one in explained), rows_shared=shared,
        passes=passes,
        bytes=Bytes(items * sum(_bytes(context, bound) for bound in systems), items * _shared_bytes(context),
                    items * sum(_kept(context, bound) for bound in systems)),
        explainers=explained, looks=() if context.settings.until is None else _looks(context, passes // items))


def _looks(context: Context, passes: int) -> tuple[Look, ...]:
    """Where a run may stop; passes: of the model for one item."""
    clusters = [item.cluster for item in context.task.items]
    stops = [stop for _, stop in context.ranges()]
    return tuple(Look(len(set(clusters[:end])), end, sum(stop <= end for stop in stops), end * passes)
                 for end in looking.ends(context.task))


def _explained(context: Context, bound: BoundExplainer, items: int) -> Explained:
    run, _ = scoring.runnable(context, bound)
    found = [context.traces[metric.signature] for metric in run]
    own, again = len({edit for trace in found for edit in trace.own}), len({call for trace in found for call in trace.again})
    return Explained(
        bound.name, bound.explainer.reference, len(run), asked=items * sum(trace.asked for trace in found), run=items * own,
        again=items * again, passes=items * (own + bound.passes * (1 + again)))


def _kept(context: Context, bound: BoundExplainer) -> int:
    """Bytes of an item's scores."""
    return sum(context.traces[metric.signature].kept for metric in scoring.runnable(context, bound)[0])


def _bytes(context: Context, bound: BoundExplainer) -> int:
    """Bytes of an explanation of the first item; of a map at most, on the input grid."""
    return bound.made.stand_in(context.loaded(0, 1).batch(torch.zeros(1, dtype=torch.int64))).nbytes


def _shared_bytes(context: Context) -> int:
    """Bytes of an item's baseline: readouts are float64, labels one byte. The length of a representation is taken for that of
    the logits."""
    wanted, classes = context.wanted, int(context.model.document["classes"]["count"])
    if not context.output.targets:  # one number per step
        classes = context.loaded(0, 1).inputs.shape[2]
    vectors: tuple[tuple[Any, Readout], ...] = wanted.vectors
    numbers = len(context.output.readouts) * len(wanted.edits) + classes * len(vectors)
    return 8 * numbers + len(wanted.regions) * math.prod(context.loaded(0, 1).inputs.shape[2:])


__all__ = ["Bytes", "Explained", "Look", "Plan", "planned"]
