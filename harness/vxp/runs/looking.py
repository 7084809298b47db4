"""Runs that stop once their question is decided: what a look at the scores so far finds (7.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from vxp_schemas import typed

from vxp.core import VxpError
from vxp.metrics import Bound
from vxp.stats import sequential
from vxp.stats.inference import Floats
from vxp.stats.sequential import Comparison, Facts, Found, Until
from vxp.tasks import Task

FLOOR = "random"
"""The reference that every method is compared with."""


@dataclass(frozen=True, eq=False)
class Scores:
    """The numbers of one system by signature, NaN where an item has none: [N] in the task's order. id: of its result."""

    id: str
    explainer: str
    reference: bool
    values: Mapping[str, Floats]


def asked(task: Task, question: Until, metrics: Sequence[Bound]) -> list[Facts]:
    """The scores that a question is about; VxpError where there is none."""
    scores: list[Facts] = [
        {"signature": b.signature, "family": b.metric.family, "level": b.metric.level, "better": b.metric.better,
         "range": list(b.metric.range)} for b in metrics]
    return sequential.watched(scores, question, task.document["primary_family"])


def look(
    task: Task, question: Until, scores: Sequence[Facts], systems: Sequence[Scores]
) -> dict[str, typed.ResultSequential]:
    """By result the looks at the items of a task so far, and what the last one finds of its comparisons.

    task: the first clusters of one in drawn order; scores: those that are asked for. VxpError where there is no pair.
    """
    largest = task.largest_cluster
    if largest is None:
        raise VxpError(f"task {task.name} is in its own order, and only items in drawn order are looked at: task.drawn")
    clusters, at = [item.cluster for item in task.items], _looks(task)
    comparisons = [
        Comparison(a.id, b.id, score["signature"], sequential.differences(
            a.values[score["signature"]], b.values[score["signature"]], clusters, (score["range"][0], score["range"][1]),
            largest))
        for score in scores for a, b in _pairs(systems)]
    verdict = sequential.decide(comparisons, at, question, task.inference)
    looks: list[typed.ResultSequentialLook] = [
        {"clusters": n, "items": items, "undecided": left}
        for n, items, left in zip(at, ends(task), verdict.undecided, strict=True)]
    return {system.id: {
        "comparisons": len(comparisons), "largest_cluster": largest, "looks": looks,
        "found": [_document(found, system.id) for found in verdict.found if system.id in (found.a, found.b)],
    } for system in systems}


def ends(task: Task) -> list[int]:
    """How many items of a task in drawn order there are at every look so far."""
    last = {item.cluster: i for i, item in enumerate(task.items)}  # in the order in which clusters begin
    places = list(last.values())
    return [places[n - 1] + 1 for n in _looks(task)]


def _looks(task: Task) -> list[int]:
    """After how many clusters it has been looked."""
    whole = task.selection
    return [] if whole is None else [
        n for n in sequential.looks(whole.of_clusters, task.inference.min_clusters) if n <= whole.clusters]


def _pairs(systems: Sequence[Scores]) -> list[tuple[Scores, Scores]]:
    """Every method with every other, and each with the floor."""
    methods = [s for s in systems if not s.reference]
    floor = next((s for s in systems if s.reference and s.explainer == FLOOR), None)
    pairs = [*combinations(methods, 2), *((m, floor) for m in methods if floor is not None)]
    if not pairs:
        raise VxpError("--until compares explainers with each other and with the reference random: name one that is no "
                       "reference with --explainer")
    return pairs


def _document(found: Found, own: str) -> typed.ResultSequentialFound:
    """A comparison as the result of one of its two systems has it: its own less the other's."""
    sign = 1 if found.a == own else -1
    lo, hi = (found.lo, found.hi) if sign > 0 else (-found.hi, -found.lo)
    document: typed.ResultSequentialFound = {
        "other": found.b if sign > 0 else found.a, "signature": found.signature, "n": found.n, "clusters": found.clusters,
        "lo": lo, "hi": hi, "p": found.p, "p_adjusted": found.p_adjusted}
    if np.isfinite(found.delta):
        document["delta"] = sign * found.delta
    if found.decided is not None:
        document["decided"] = found.decided
    return document
