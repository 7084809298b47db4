"""Score tables: which columns there are, what tells them apart, how a number is written, who is tied for best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Any

from vxp import stats
from vxp.report.folder import Entry, Run

FAMILIES = {
    "faithfulness": "Does the model's output follow the map when pixels are removed, inserted or kept?",
    "localisation": "Does the map lie on the object that it should explain?",
    "sanity": "Does the map depend on the model and on the class, as it must?",
    "robustness": "Does the map stay the same when the image changes a little?",
    "complexity": "Is the map concentrated on few positions? This says nothing about whether they are the right ones.",
}
"""Families in the order of the report, each with its question."""

PERCENT = frozenset({"average-drop", "increase-in-confidence", "average-gain"})
"""Scores that their authors give in percent; they are stored as fractions."""

ARROWS = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True)
class Column:
    """One score: its metric, and those of its parameters that tell it apart from the other columns."""

    signature: str
    metric: str
    detail: str
    better: str
    percent: bool
    decimals: int

    @property
    def arrow(self) -> str:
        return ARROWS[self.better]

    @property
    def title(self) -> str:
        return f"{self.metric} {self.detail}".strip()

    def number(self, value: float) -> str:
        text = f"{100 * value if self.percent else value:.{self.decimals}f}"
        return text.replace("-", "−") + (" %" if self.percent else "")

    def interval(self, ci: Mapping[str, Any]) -> str:
        lo, hi = (self.number(ci[end]).removesuffix(" %") for end in ("lo", "hi"))
        return f"[{lo}, {hi}]"


@dataclass(frozen=True)
class Cell:
    """A score of an explainer: the exact mean (None where there is none), the texts, and whether it is tied for best."""

    value: float | None
    text: str
    interval: str
    notes: tuple[str, ...]
    tied: bool = False


@dataclass(frozen=True)
class Row:
    """An explainer's cells; role is "" or, for a reference, floor or ceiling."""

    label: str
    role: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """The scores of one family."""

    family: str
    question: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def role(explainer: Mapping[str, Any]) -> str:
    """What a reference is for: the oracle knows the truth and is the ceiling, the others are the floor."""
    if not explainer["reference"]:
        return ""
    return "ceiling" if explainer["id"] == "oracle" else "floor"


def columns(documents: Sequence[Mapping[str, Any]]) -> dict[str, list[Column]]:
    """The columns of every family that has any, in the order of FAMILIES, then of first mention."""
    scores: dict[str, list[Mapping[str, Any]]] = {}
    for document in documents:
        for score in document["scores"]:
            scores.setdefault(score["signature"], []).append(score)
    details = _details(list(scores))
    found: dict[str, list[Column]] = {family: [] for family in FAMILIES}
    for signature, same in scores.items():
        metric = same[0]["metric"]["id"]
        means = [abs(s["mean"]) for s in same if "mean" in s]
        percent = metric in PERCENT
        found.setdefault(same[0]["family"], []).append(
            Column(signature, metric, details[signature], same[0]["better"], percent, 1 if percent else _decimals(means)))
    return {family: cols for family, cols in found.items() if cols}


def _details(signatures: Sequence[str]) -> dict[str, str]:
    """Per signature the parameters whose values differ between the signatures of its metric, e.g. 'keep 50'."""
    parts = {s: dict(_part(p) for p in ("version:" + s.partition("@")[2]).split("|")) for s in signatures}
    details = {}
    for signature, own in parts.items():
        alike = [p for s, p in parts.items() if s.partition("@")[0] == signature.partition("@")[0]]
        details[signature] = ", ".join(f"{k} {v}" for k, v in own.items() if any(p.get(k) != v for p in alike))
    return details


def _part(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name, value


def _decimals(means: Sequence[float]) -> int:
    """Three decimals, more where all means are small."""
    biggest = max(means, default=1.0)
    return 3 if biggest >= 0.1 or biggest == 0 else min(8, 2 - floor(log10(biggest)))


def cell(column: Column, score: Mapping[str, Any] | None, tied: bool = False) -> Cell:
    """What a cell says. A score without a number is words, never a number."""
    if score is None:
        return Cell(None, "not asked", "", ())
    reasons = [_reason(status, n if n < score["n"] else None) for status, n in score["statuses"].items() if status != "ok"]
    if "mean" not in score:
        return Cell(None, ", ".join(reasons) or "no items", "", ())
    notes = []
    if reasons:
        notes.append(f"{score['statuses'].get('ok', 0)} of {score['n']} scored")
        notes += reasons
        if "mean_worst_bound" in score:
            notes.append(f"{column.number(score['mean_worst_bound'])} if the rest were worst")
    interval = column.interval(score["ci"]) if "ci" in score else ""
    return Cell(score["mean"], column.number(score["mean"]), interval, tuple(notes), tied)


def _reason(status: str, n: int | None) -> str:
    kind, _, code = status.partition(":")
    words = kind.replace("-", " ") + (f": {code.replace('-', ' ')}" if code else "")
    return words if n is None else f"{n} {words}"


def few_clusters(run: Run) -> bool:
    return len(set(run.clusters)) < stats.FEW_CLUSTERS or any("few-clusters" in e.document["flags"] for e in run.entries)


def tied_for_best(run: Run, column: Column) -> frozenset[str]:
    """Explainers, references left out, that are not separated from the best mean; nobody when there are few clusters.

    Nobody either where fewer than two explainers have the score: the best of one says nothing.
    """
    asked = [e for e in run.entries if not e.reference and "mean" in e.scores.get(column.signature, {})]
    if len(asked) < 2 or few_clusters(run):
        return frozenset()
    table = {e.label: e.values(column.signature) for e in asked}
    better: stats.Better = "higher" if column.better == "higher" else "lower"
    return frozenset(stats.compare_all(table, run.clusters, better).tied_for_best)


def tables(run: Run) -> list[Table]:
    """The score tables of a run, one per family."""
    found = []
    for family, cols in columns([e.document for e in run.entries]).items():
        tied = {column.signature: tied_for_best(run, column) for column in cols}
        rows = tuple(_row(entry, cols, tied) for entry in run.entries)
        found.append(Table(family, FAMILIES.get(family, ""), tuple(cols), rows))
    return found


def _row(entry: Entry, cols: Sequence[Column], tied: Mapping[str, frozenset[str]]) -> Row:
    cells = tuple(cell(c, entry.scores.get(c.signature), entry.label in tied[c.signature]) for c in cols)
    return Row(entry.label, role(entry.document["explainer"]), cells)
