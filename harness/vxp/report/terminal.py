"""Score tables for a terminal of 120 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from vxp.report.folder import names
from vxp.report.scores import Column, cell, columns, role

WIDTH = 120
NAME = 28
"""Columns at most for an explainer's name; longer ones are folded."""


def console_tables(documents: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Tables of result documents: explainers down, scores across, `mean [interval]`; several per family where one is too wide."""
    ordered = sorted(documents, key=lambda d: (d["explainer"]["reference"], d["explainer"]["id"] == "oracle"))
    labels = [_label(name, d) for name, d in zip(names([d["explainer"] for d in ordered]), ordered, strict=True)]
    found = []
    for family, cols in columns(ordered).items():
        texts = {c.signature: [_text(c, d) for d in ordered] for c in cols}
        for number, part in enumerate(_parts(cols, texts, min(NAME, max(map(len, labels))))):
            title = family if number == 0 else f"{family}, continued"
            found.append(_table(title, part, labels, texts, ordered))
    return found


def _label(name: str, document: Mapping[str, Any]) -> str:
    what = role(document["explainer"])
    return f"{name} ({what})" if what else name


def _head(column: Column) -> str:
    return f"{column.title} {column.arrow}"


def _text(column: Column, document: Mapping[str, Any]) -> str:
    score = next((s for s in document["scores"] if s["signature"] == column.signature), None)
    shown = cell(column, score)
    missing = f" ({shown.notes[0]})" if shown.notes else ""
    return " ".join(filter(None, (shown.text, shown.interval))) + missing


def _parts(cols: Sequence[Column], texts: Mapping[str, Sequence[str]], first: int) -> list[list[Column]]:
    """The columns in runs that fit beside the names; three characters lie between two columns."""
    taken, part, parts = first + 4, 0, []
    for column in cols:
        width = 3 + max(map(len, [*texts[column.signature], *_head(column).split("\n")]))
        if taken + width > WIDTH and taken > first + 4:
            taken, part = first + 4, part + 1
        taken += width
        parts.append((part, column))
    return [[column for _, column in group] for _, group in groupby(parts, key=lambda p: p[0])]


def _table(
    title: str, cols: Sequence[Column], labels: Sequence[str], texts: Mapping[str, Sequence[str]],
    documents: Sequence[Mapping[str, Any]],
) -> Table:
    # Text, not markup: names come from strangers
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("explainer", max_width=NAME, overflow="fold")
    for column in cols:
        table.add_column(Text(_head(column)), justify="right", overflow="fold")
    for i, (label, document) in enumerate(zip(labels, documents, strict=True)):
        style = "dim" if document["explainer"]["reference"] else ""
        table.add_row(*(Text(t, style) for t in (label, *(texts[c.signature][i] for c in cols))))
    return table
