"""The tables that a terminal shows after a run."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table
from vxp_schemas import typed

from vxp import division
from vxp.report import looked
from vxp.report.words import ARROWS, columns, interval, names, note, number, statuses
from vxp.runs.result import TIE, families

COLUMN = 18
"""Characters of a score's column, with its padding: '[0.123, 0.456]' and a metric's name in two lines fit."""
LABEL = 36


def heading(documents: Sequence[typed.Result]) -> str:
    """What was scored, and whether the results are closed or open, with the reason."""
    first = documents[0]
    asked = looked.words(first)
    said = (f"{first['task']['id']}@{first['task']['version']}, {first['model']['id']}@{first['model']['version']}: "
            f"{first['scores'][0]['n']} items, {division.words(first)}")
    return "\n".join(filter(None, [said, f"Sequential, {asked}" if asked else ""]))


def console_tables(documents: Sequence[typed.Result], width: int = 100) -> list[Table]:
    """Tables of explainers by scores that fit `width` characters, one or more per family; references first."""
    if not documents:
        return []
    ordered = sorted(documents, key=lambda d: not d["explainer"]["reference"])
    scores = documents[0]["scores"]
    heads = columns([s["signature"] for s in scores])
    labels = names([d["explainer"] for d in ordered])
    tables = []
    most = max(1, (width - 2 - min(LABEL, max(map(len, labels)))) // COLUMN)
    for family in families(documents[0]["task"], scores):
        wanted = [s for s in scores if s["family"] == family]
        for start in range(0, len(wanted), most):
            part = wanted[start : start + most]
            table = Table(title=family, title_justify="left", box=None, padding=(0, 1))
            table.add_column("explainer", overflow="fold", min_width=min(LABEL, max(map(len, labels))), max_width=LABEL)
            for score in part:
                metric, telling = heads[score["signature"]]
                arrow = ARROWS[score["better"]]
                level = "(set)" if score["level"] == "set" else ""  # one number per set, no mean over items
                head = textwrap.fill(" ".join(filter(None, [metric, telling, level, arrow])), COLUMN - 2)
                tie = "\nreferences tie" if TIE in score.get("flags", ()) else ""
                table.add_column(head + tie, justify="right", max_width=COLUMN - 2)
            for label, document in zip(labels, ordered, strict=True):
                found = {s["signature"]: s for s in document["scores"]}
                cells = [_cell(found[s["signature"]]) for s in part]
                table.add_row(escape(label), *cells, style="dim" if document["explainer"]["reference"] else None)
            tables.append(table)
    return tables


def _cell(score: typed.ResultScore) -> str:
    if "mean" not in score:
        return note(score)
    lines = number(score["mean"], score["metric"]["id"]), interval(score.get("ci"), score["metric"]["id"]), statuses(score)
    return "\n".join(filter(None, lines)).replace("[", "\\[")
