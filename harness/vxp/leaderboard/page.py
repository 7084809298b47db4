"""The board as pages: who is best of every table, every table, and every submission. No scripts, nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template, select_autoescape
from vxp_schemas import typed

from vxp import division
from vxp.bundles import cite
from vxp.explainers import CEILINGS
from vxp.leaderboard.known import NOTHING, Memory
from vxp.leaderboard.records import SHARE, Record
from vxp.leaderboard.tables import SHOWN
from vxp.report.words import ARROWS, FAMILIES, Context, Score, columns, direction, interval, note, number
from vxp.runs import result

LEVELS = {
    "E1": "the means follow from the scores per item; nobody else has computed these",
    "E2": "scores per item were computed again from the stored maps",
    "E3": "the maps were made again from the code as well",
    "E4": "reproduced by an independent implementation",
}
"""What a level of evidence says, in a few words."""


Submissions = Mapping[str, typed.LeaderboardSubmission]
"""What the board has of submissions, by record."""
Entry = tuple[typed.LeaderboardTable, typed.LeaderboardTableEntry]
"""What a table says of all of its results, and of one."""
UNKNOWN: Context = {"figure": "", "interval": "", "note": "not scored", "tied": False, "why_not": "", "less": "", "below": ""}
"""The cell of a score that a system does not have."""


def pages(document: typed.Leaderboard, records: Sequence[Record], out: Path, memory: Memory = NOTHING) -> dict[str, bytes]:
    """Every page by its path in the folder `out`. memory: knows from what those that are there were made."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("vxp.leaderboard"), PackageLoader("vxp.report")]),
        autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"levels": LEVELS, "least": SHOWN, "share": SHARE}
    submissions = {s["record"]: s for s in document["submissions"]}
    told = [_told(t, submissions) for t in document["tables"]]
    tables = [{**t, **more} for t, more in zip(document["tables"], told, strict=True)]
    index = environment.get_template("index.html.j2").render(document=document, tables=tables)
    found = {"index.html": index.encode()}
    template = environment.get_template("table.html.j2")
    for t, more in zip(document["tables"], told, strict=True):
        path = f"tables/{more['anchor']}.html"
        beside = {e["record"]: submissions[e["record"]] for e in t["entries"]}
        found[path] = memory.file(out / path, partial(_table_page, template, t, more, beside), "table",
                                  json.dumps([t, beside]))
    template = environment.get_template("submission.html.j2")
    of_record: dict[str, list[Entry]] = {}
    for t in document["tables"]:
        facts = t | {"entries": [], "references": []}
        for e in t["entries"]:
            of_record.setdefault(e["record"], []).append((facts, e))
    for record in records:
        path, said, own = f"submissions/{record.name}.html", submissions[record.name], of_record.get(record.name, [])
        make = partial(_submission_page, template, said, own, record)
        follows = json.dumps([said, own])
        found[path] = make() if record.key is None else memory.file(out / path, make, "submission", record.key, follows)
    return found


def _submission_page(template: Template, said: typed.LeaderboardSubmission, own: Sequence[Entry], record: Record) -> bytes:
    return template.render(
        s=said, most=max((t["items"] for t, _ in own), default=0), results=[_result(t, e, record) for t, e in own],
        citation=cite.of_submission(record.submission, record.bundle.root_digest, record.results)).encode()


def _table_page(template: Template, table: typed.LeaderboardTable, more: Context, submissions: Submissions) -> bytes:
    entries = sorted(table["entries"], key=lambda e: (not submissions[e["record"]]["shown"],
                                                      submissions[e["record"]]["method"]["name"], e["record"]))
    whole = {**table, **more, "entries": [(submissions[e["record"]], e) for e in entries],
             "families": _families(table, entries, submissions)}
    return template.render(table=whole, hidden=len(entries) - more["shown"]).encode()


def _families(
    table: typed.LeaderboardTable, entries: Sequence[typed.LeaderboardTableEntry], submissions: Submissions
) -> list[Context]:
    heads = columns([s["signature"] for s in table["scores"]])
    families: list[Context] = []
    for family in result.families(table["task"], table["scores"]):
        scores = [s for s in table["scores"] if s["family"] == family]
        families.append({
            "name": family, "about": FAMILIES.get(family, ""),
            "columns": [{"metric": heads[s["signature"]][0], "telling": _telling(heads[s["signature"]][1], s["level"]),
                         "signature": s["signature"], "arrow": ARROWS[s["better"]],
                         "direction": direction(s["better"]), "tie": result.TIE in s.get("flags", ()),
                         "of_task": s["of_task"]} for s in scores],
            "rows": [{"submission": submissions[e["record"]], "cells": [_cell(s, _of(e, s)) for s in scores]} for e in entries],
            "references": [{"name": r["explainer"], "cells": _beside(scores, r)} for r in table["references"]],
        })
    return families


def _told(table: typed.LeaderboardTable, submissions: Submissions) -> Context:
    """What the first page says of a table, besides what it has."""
    return {"best": _best(table, columns([s["signature"] for s in table["scores"]]), submissions),
            "shown": sum(submissions[e["record"]]["shown"] for e in table["entries"]),
            "part": division.part(table.get("selection"), table["items"]),
            "anchor": f"{table['task']['id']}-{table['task']['digest'][7:15]}-{table['model']['digest'][7:15]}"}


NAMED = 8
"""Methods that the first page names of those that are tied for best."""


def _best(
    table: typed.LeaderboardTable, heads: Mapping[str, tuple[str, str]], submissions: Submissions
) -> list[Context]:
    """For every score that marks somebody the best figure, and who is tied for it."""
    rows = []
    for score in table["scores"]:
        sign = 1 if score["better"] == "higher" else -1
        marked = [(found["figure"], submissions[e["record"]]["method"]["name"]) for e in table["entries"]
                  if (found := _of(e, score)) is not None and found.get("tied_for_best")]
        if marked:
            marked.sort(key=lambda one: (-sign * one[0], one[1]))
            metric, telling = heads[score["signature"]]
            rows.append({"metric": metric, "telling": _telling(telling, score["level"]), "signature": score["signature"],
                         "arrow": ARROWS[score["better"]], "direction": direction(score["better"]),
                         "figure": number(marked[0][0], score["signature"].partition("@")[0]),
                         "names": [name for _, name in marked[:NAMED]], "more": max(0, len(marked) - NAMED)})
    return rows


def _telling(parameters: str, level: str) -> str:
    return ", ".join(filter(None, [parameters, "one number per set" if level == "set" else ""]))


def _of(
    entry: typed.LeaderboardTableEntry, score: typed.LeaderboardTableScore
) -> typed.LeaderboardTableEntryScore | None:
    return next((s for s in entry["scores"] if s["signature"] == score["signature"]), None)


def _beside(scores: Sequence[typed.LeaderboardTableScore], reference: typed.LeaderboardTableReference) -> list[Context]:
    found = {s["signature"]: s for s in reference["scores"]}
    return [_shown(score, s, s.get("mean"), s.get("ci")) if (s := found.get(score["signature"])) is not None else UNKNOWN
            for score in scores]


def _shown(score: typed.LeaderboardTableScore, found: Score, figure: float | None, ci: typed.Ci | None) -> Context:
    """The figure with its interval, or why there is none."""
    metric = score["signature"].partition("@")[0]
    return UNKNOWN | {
        "figure": "" if figure is None else number(figure, metric),
        "interval": interval(ci, metric).replace(" ", "\u00a0"),  # stays on one line
        "note": note(found)}


def _cell(score: typed.LeaderboardTableScore, found: typed.LeaderboardTableEntryScore | None) -> Context:
    """The figure with its interval, what has none, why it is not ranked, whether it is tied for best, and the references
    that it was not shown to beat."""
    if found is None:
        return UNKNOWN
    figure, mean = found.get("figure"), found.get("mean")
    shown = _shown(score, found, figure, found.get("figure_ci"))
    if figure is not None and mean is not None and figure != mean:
        shown["note"] += f"; {number(mean, score['signature'].partition('@')[0])} without the items that it lost"
    return shown | {
        "tied": found.get("tied_for_best", False),
        # what has no number, or no audit, says so already
        "why_not": why if (why := found.get("why_not_ranked", "")).startswith("a number for") else "",
        "below": _below(found.get("against", {})),
        "less": "E1" if found["evidence"] == "E1" else "",
    }


def _below(against: Mapping[str, str]) -> str:
    """The references that a method was not shown to beat, in words; those that know the truth are no floor."""
    floors = {name: verdict != "better" for name, verdict in against.items() if name not in CEILINGS}
    below = [name for name, not_better in floors.items() if not_better]
    if len(below) == len(floors) > 1:
        return "beats no reference"
    return f"not better than {', '.join(below)}" if below else ""


def _result(table: typed.LeaderboardTable, entry: typed.LeaderboardTableEntry, record: Record) -> Context:
    """A result on its own page, with the command that computes it again."""
    [document] = [found for found in record.results if found["result_id"] == entry["result_id"]]
    scores = [{"signature": s["signature"], "arrow": ARROWS[s["better"]], "family": s["family"],
               "direction": direction(s["better"]), "evidence": found["evidence"], **_cell(s, found)}
              for s in table["scores"] if (found := _of(entry, s)) is not None]
    again = cite.command(task=document["task"], model=document["model"], systems=[record.system],
                         metrics=[s["signature"] for s in document["scores"]], settings=document["settings"])
    return {"table": table, "entry": entry, "scores": scores, "command": again}
