"""What a table of a run says beside its means: who is tied for best, and which references a method was not shown to beat. The
page and the terminal print the same cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from vxp_schemas import typed

from vxp import division, stats
from vxp.explainers import CEILINGS
from vxp.report import compare, looked
from vxp.report.read import Run, System
from vxp.report.words import interval, note, number

NOT_BETTER = "not better than"
"""What stands before the references that a method was not shown to beat."""


@dataclass(frozen=True)
class Standing:
    """By signature the methods that are tied for best; and by method and signature the references, except the ceiling, that it
    is not separated from and better than. Nothing of either where there are too few clusters to tell."""

    tied: Mapping[str, tuple[str, ...]]
    below: Mapping[tuple[str, str], Sequence[str]]


@dataclass(frozen=True)
class Cell:
    """A score as a table prints it; empty where there is nothing to say."""

    mean: str
    interval: str
    note: str
    tied: bool
    below: str


@lru_cache(maxsize=1)
def standing(run: Run) -> Standing:
    """The tests of a run's methods against each other and the references. The last run is kept: two tables are made of it."""
    methods = [s for s in run.systems if not s.reference]
    if not methods:
        return Standing({}, {})
    beside = {s.document["explainer"]["id"]: _samples(s, {}) for s in run.systems if s.reference}
    group = compare.group([_samples(s, beside) for s in methods], intervals=False)
    names = dict(zip(group.names, (s.name for s in methods), strict=True))
    tied = {signature: tuple(names[n] for n in marked) for signature, marked in group.marked().items()}
    below: dict[tuple[str, str], list[str]] = {}
    for row in () if group.few_clusters else (r for s in group.scores for r in s.against):
        asked = row.paired.method != "none" or not methods[0].sequential
        if asked and row.b not in CEILINGS and not (row.separated and row.winner == row.a):
            below.setdefault((names[row.a], row.signature), []).append(row.b)
    return Standing(tied, below)


def _samples(system: System, references: dict[str, compare.Samples]) -> compare.Samples:
    return compare.Samples(system.name, system.document["result_id"], system.document, list(system.items),
                           list(system.clusters), dict(system.values), dict(system.kept), references=references)


def cell(system: System, score: typed.ResultScore, found: Standing) -> Cell:
    """A score of a system, with how it stands."""
    signature, metric = score["signature"], score["metric"]["id"]
    return Cell(number(score["mean"], metric) if "mean" in score else "", interval(score.get("ci"), metric), note(score),
                system.name in found.tied.get(signature, ()), ", ".join(found.below.get((system.name, signature), ())))


def few(run: Run) -> bool:
    """Whether the items come from too few clusters to separate anybody."""
    return any("few-clusters" in system.document["flags"] for system in run.systems)


def flags(run: Run) -> list[tuple[str, str]]:
    """The flags of a run's results, each by its name in words and what it means for the reader."""
    first = run.systems[0].document
    clusters = len(set(run.systems[0].clusters))
    least = stats.Inference.of(first["inference"]).min_clusters
    part = division.part(first.get("selection"), len(run.systems[0].clusters))
    known = {
        "few-clusters": ("Few clusters", f"The items come from {clusters} independent sources, fewer than {least}. No two "
                         "explainers are called separated here, whatever their means."),
        "limited": ("Limited run", f"Only {part} of the task were used, of every cluster in turn: these numbers are not "
                    "comparable with results of the whole task."),
        "sequential": ("Sequential run", f"It went on {looked.words(first)}. Only what was asked is tested, by bets that hold "
                       "however often one looks. The intervals of means take no account of the looks, and the numbers are not "
                       "comparable with results of the whole task."),
    }
    raised = sorted({flag for system in run.systems for flag in system.document["flags"]})
    return [known.get(flag, ("Flag", flag)) for flag in raised]
