"""The board as pages: who is best of every table, every table, and every submission. No scripts, nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from vxp import division
from vxp.bundles import cite
from vxp.explainers import ORACLES
from vxp.leaderboard.known import NOTHING, Memory
from vxp.leaderboard.records import SHARE, Record
from vxp.leaderboard.tables import SHOWN
from vxp.report.words import ARROWS, FAMILIES, columns, direction, interval, note, number
from vxp.runs import result

LEVELS = {
    "E1": "the means follow from the scores per item; nobody else has computed these",
    "E2": "scores per item were computed again from the stored maps",
    "E3": "the maps were made again from the code as well",
    "E4": "reproduced by an independent implementation",
}
"""What a level of evidence says, in a few words."""


def pages(document: Mapping[str, Any], records: Sequence[Record], out: Path, memory: Memory = NOTHING) -> dict[str, bytes]:
    """Every page by its path in the folder `out`. memory: knows from what those that are there were made."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("vxp.leaderboard"), PackageLoader("vxp.report")]),
        autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"levels": LEVELS, "least": SHOWN, "share": SHARE}
    submissions = {s["record"]: s for s in document["submissions"]}
    tables = [_table(t, submissions) for t in document["tables"]]
    index = environment.get_template("index.html.j2").render(document=document, tables=tables)
    found = {"index.html": index.encode()}
    template = environment.get_template("table.html.j2")
    for t, table in zip(document["tables"], tables, strict=True):
        path = f"tables/{table['anchor']}.html"
        beside = {e["record"]: submissions[e["record"]] for e in t["entries"]}
        found[path] = memory.file(out / path, partial(_table_page, template, table, beside), "table",
                                  json.dumps([t, beside]))
    template = environment.get_template("submission.html.j2")
    of_record: dict[str, list[Entry]] = {}
    for t in document["tables"]:
        facts = {k: v for k, v in t.items() if k not in ("entries", "references")}
        for e in t["entries"]:
            of_record.setdefault(e["record"], []).append((facts, e))
    for record in records:
        path, said, own = f"submissions/{record.name}.html", submissions[record.name], of_record.get(record.name, [])
        make = partial(_submission_page, template, said, own, record)
        follows = json.dumps([said, own])
        found[path] = make() if record.key is None else memory.file(out / path, make, "submission", record.key, follows)
    return found


Entry = tuple[Mapping[str, Any], Mapping[str, Any]]
"""What a table says of all of its results, and of one."""


def _submission_page(template: Template, said: Mapping[str, Any], own: Sequence[Entry], record: Record) -> bytes:
    return template.render(
        s=said, most=max((t["items"] for t, _ in own), default=0), results=[_result(t, e, record) for t, e in own],
        citation=cite.of_submission(record.submission, record.bundle.root_digest, record.results)).encode()


def _table_page(template: Template, table: Mapping[str, Any], submissions: Mapping[str, Mapping[str, Any]]) -> bytes:
    entries = sorted(table["entries"], key=lambda e: (not submissions[e["record"]]["shown"],
                                                      submissions[e["record"]]["method"]["name"], e["record"]))
    whole = {**table, "entries": [(submissions[e["record"]], e) for e in entries],
             "families": _families(table, entries, submissions)}
    return template.render(table=whole, hidden=len(entries) - table["shown"]).encode()


def _families(
    table: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], submissions: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    heads = columns([s["signature"] for s in table["scores"]])
    families: list[dict[str, Any]] = []
    for family in result.families(table["task"], table["scores"]):
        scores = [s for s in table["scores"] if s["family"] == family]
        families.append({
            "name": family, "about": FAMILIES.get(family, ""),
            "columns": [{"metric": heads[s["signature"]][0], "telling": _telling(heads[s["signature"]][1], s["level"]),
                         "signature": s["signature"], "arrow": ARROWS[s["better"]],
                         "direction": direction(s["better"]), "tie": result.TIE in s.get("flags", ()),
                         "of_task": s["of_task"]} for s in scores],
            "rows": [{"submission": submissions[e["record"]], "cells": _cells(scores, e)} for e in entries],
            "references": [{"name": r["explainer"], "cells": _cells(scores, r)} for r in table["references"]],
        })
    return families


def _table(table: Mapping[str, Any], submissions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A table with what the first page says of it."""
    return {**table, "best": _best(table, columns([s["signature"] for s in table["scores"]]), submissions),
            "shown": sum(submissions[e["record"]]["shown"] for e in table["entries"]),
            "part": division.part(table),
            "anchor": f"{table['task']['id']}-{table['task']['digest'][7:15]}-{table['model']['digest'][7:15]}"}


NAMED = 8
"""Methods that the first page names of those that are tied for best."""


def _best(table: Mapping[str, Any], heads: Mapping[str, Any], submissions: Mapping[str, Any]) -> list[dict[str, Any]]:
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


def _of(entry: Mapping[str, Any], score: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((s for s in entry["scores"] if s["signature"] == score["signature"]), None)


def _cells(scores: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = {s["signature"]: s for s in entry["scores"]}
    return [_cell(score, found.get(score["signature"]), entry) for score in scores]


def _cell(score: Mapping[str, Any], found: Mapping[str, Any] | None, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The figure with its interval, what has none, why it is not ranked, whether it is tied for best, and the references
    that it was not shown to beat."""
    if found is None:
        return {"figure": "", "interval": "", "note": "not scored", "tied": False, "why_not": "", "less": "", "below": ""}
    submitted = "record" in entry
    whole = {"statuses": {}, **found, "metric": {"id": score["signature"].partition("@")[0]}}
    if submitted:
        whole = {k: v for k, v in whole.items() if k != "ci"} | ({"ci": found["figure_ci"]} if "figure_ci" in found else {})
    figure = found.get("figure" if submitted else "mean")
    filled = submitted and figure is not None and "mean" in found and figure != found["mean"]
    mean = number(found["mean"], whole["metric"]["id"]) if filled else ""
    return {
        "figure": "" if figure is None else number(figure, whole["metric"]["id"]),
        "interval": interval(whole).replace(" ", "\u00a0"),  # stays on one line
        "note": note(whole) + (f"; {mean} without the items that it lost" if filled else ""),
        "tied": found.get("tied_for_best", False),
        # what has no number, or no audit, says so already
        "why_not": why if (why := found.get("why_not_ranked", "")).startswith("a number for") else "",
        "below": _below(found.get("against", {})),
        "less": found.get("evidence", "") if found.get("evidence") == "E1" and submitted else "",
    }


def _below(against: Mapping[str, str]) -> str:
    """The references that a method was not shown to beat, in words; the oracles are no floor."""
    floors = {name: verdict != "better" for name, verdict in against.items() if name not in ORACLES}
    below = [name for name, not_better in floors.items() if not_better]
    if len(below) == len(floors) > 1:
        return "beats no reference"
    return f"not better than {', '.join(below)}" if below else ""


def _result(table: Mapping[str, Any], entry: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """A result on its own page, with the command that computes it again."""
    [document] = [found for found in record.results if found["result_id"] == entry["result_id"]]
    scores = [{"signature": s["signature"], "arrow": ARROWS[s["better"]], "family": s["family"],
               "direction": direction(s["better"]), "evidence": found["evidence"], **_cell(s, found, entry)}
              for s in table["scores"] if (found := _of(entry, s)) is not None]
    again = cite.command(task=document["task"], model=document["model"], systems=[record.system],
                         metrics=[s["signature"] for s in document["scores"]], settings=document["settings"])
    return {"table": table, "entry": entry, "scores": scores, "command": again}
