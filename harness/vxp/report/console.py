"""The tables that a terminal shows after a run: the cells of the page."""

from __future__ import annotations

import textwrap

from rich.markup import escape
from rich.table import Table

from vxp import division
from vxp.report.read import Run
from vxp.report.standing import NOT_BETTER, Cell, cell, few, flags, standing
from vxp.report.words import ARROWS, columns
from vxp.runs.result import TIE, families

COLUMN = 18
"""Characters of a score's column, with its padding: '[0.123, 0.456]' and a metric's name in two lines fit."""
LABEL = 36


def heading(run: Run) -> str:
    """What was scored, whether the results are closed or open, with the reason, and the flags."""
    first = run.systems[0].document
    said = (f"{first['task']['id']}@{first['task']['version']}, {first['model']['id']}@{first['model']['version']}: "
            f"{first['scores'][0]['n']} items, {division.words(first)}")
    return "\n".join([said, *(f"{title}. {text}" for title, text in flags(run))])


def legend(run: Run) -> str:
    """How the marks of the tables are read; empty where nothing is marked."""
    if few(run) or all(system.reference for system in run.systems):
        return ""
    return f"● marks who is tied for best; '{NOT_BETTER}' names the references that a method was not shown to beat."


def console_tables(run: Run, width: int = 100) -> list[Table]:
    """Tables of explainers by scores that fit `width` characters, one or more per family; references first."""
    found = standing(run)
    first = run.systems[0]
    scores = list(first.scores.values())
    heads = columns(list(first.scores))
    label = min(LABEL, max(len(system.name) for system in run.systems))
    most = max(1, (width - 2 - label) // COLUMN)
    tables = []
    for family in families(first.document["task"], scores):
        wanted = [s for s in scores if s["family"] == family]
        for start in range(0, len(wanted), most):
            part = wanted[start : start + most]
            table = Table(title=family, title_justify="left", box=None, padding=(0, 1))
            table.add_column("explainer", overflow="fold", min_width=label, max_width=LABEL)
            for score in part:
                metric, telling = heads[score["signature"]]
                arrow = ARROWS[score["better"]]
                level = "(set)" if score["level"] == "set" else ""  # one number per set, no mean over items
                head = textwrap.fill(" ".join(filter(None, [metric, telling, level, arrow])), COLUMN - 2)
                tie = "\nreferences tie" if TIE in score.get("flags", ()) else ""
                table.add_column(head + tie, justify="right", max_width=COLUMN - 2)
            for system in run.systems:
                cells = [_text(cell(system, system.scores[s["signature"]], found)) for s in part]
                table.add_row(escape(system.name), *cells, style="dim" if system.reference else None)
            tables.append(table)
    return tables


def _text(shown: Cell) -> str:
    """The lines of a cell."""
    mean = f"● {shown.mean}" if shown.tied else shown.mean
    below = textwrap.fill(f"{NOT_BETTER} {shown.below}", COLUMN - 2, break_on_hyphens=False) if shown.below else ""
    return escape("\n".join(filter(None, [mean, shown.interval, shown.note, below])))
