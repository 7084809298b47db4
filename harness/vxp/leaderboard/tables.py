"""The results on one task and model side by side: what the board has of them, and what shows only beside others.

What a table says follows from its records, what is trusted of them, and the references, and is computed again only where one of
these has changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from vxp_schemas import typed

from vxp import division, metrics, stats
from vxp.documents import shared
from vxp.documents.findings import Findings
from vxp.leaderboard import flags, references
from vxp.leaderboard.known import NOTHING, Memory
from vxp.leaderboard.records import Record
from vxp.leaderboard.references import References
from vxp.leaderboard.standing import Counted, Standing, System, Verdict, standings
from vxp.report.compare import Samples
from vxp.runs import result

SHOWN = "E2"
"""The least evidence that is shown without being asked for."""
DIGITS = 9
"""Significant digits of numbers: what other machines reproduce."""


class Open(TypedDict, total=False):
    """Why a result is open."""

    open_because: list[str]


class Sequential(TypedDict, total=False):
    """Whether the items are those of sequential runs."""

    sequential: Literal[True]


class Figure(TypedDict, total=False):
    """The figure of a score on the board; audited_mean: the mean that an audit of all items computed."""

    coverage: float
    figure: float
    figure_ci: typed.Ci
    audited_mean: float


class Rank(TypedDict, total=False):
    """How a result does beside the others and the references."""

    why_not_ranked: str
    tied_for_best: bool
    against: dict[str, Verdict]


@dataclass(frozen=True)
class Table:
    """document: as the board has it. raised and wrong: by record its flags that show only beside others, and its errors:
    references that are not those that the repository computed."""

    document: typed.LeaderboardTable
    raised: Mapping[str, list[typed.Finding]]
    wrong: Mapping[str, list[typed.Finding]]


def tables(
    records: Sequence[Record], hidden: Mapping[str, Sequence[str]], kept: References, memory: Memory = NOTHING
) -> Iterator[Table]:
    """A table for every task and model. hidden: by record why it is not shown. The scores per item of one table are in memory
    at a time."""
    together: dict[tuple[Any, ...], list[tuple[Record, str]]] = {}
    for record in records:
        for facts in record.results:
            place = (facts["task"]["id"], f"{facts['task']['version']:09d}", facts["task"]["digest"], facts["model"]["id"],
                     facts["model"]["digest"])
            together.setdefault(place, []).append((record, facts["result_id"]))
    for place in sorted(together):
        rows = together[place]
        shown = {record.name for record, _ in rows if not hidden[record.name]}
        facts_of_rows = [[record.name, record.key, id, record.name in shown, record.identity, record.refuted,
                          record.trusted] for record, id in rows]
        follows = "table", json.dumps(facts_of_rows), str(kept.digests.get((place[2], place[4])))

        def made(rows: Sequence[tuple[Record, str]] = rows, shown: Set[str] = shown) -> dict[str, Any]:
            table = _table([(record, record.samples(id)) for record, id in rows], shown, kept, memory)
            return vars(table)  # as it is: asdict would copy every number

        yield Table(**(memory.kept(made, *follows) if all(record.key for record, _ in rows) else made()))


def _table(rows: Sequence[tuple[Record, Samples]], shown: Set[str], kept: References, memory: Memory) -> Table:
    """One task and model. Who is tied for best is said among what is shown, of rows with the same items."""
    document = rows[0][1].document
    clusters, inference = len(set(rows[0][1].clusters)), rows[0][1].inference
    known: dict[str, typed.ResultScore] = {}
    for _, samples in rows:
        for score in samples.document["scores"]:
            known.setdefault(score["signature"], score)
    own = frozenset(division.own_scores(document["task"]) or known)
    beside = kept.of(document)
    groups: list[list[System]] = []
    for record, samples in (row for row in rows if row[0].name in shown):
        system = System(record.name, party(record), samples, frozenset(
            s for s in samples.values if record.evidence_of(samples.document["result_id"], s) >= SHOWN))
        home = next((g for g in groups if g[0].samples.items == samples.items), None)
        groups.append([system]) if home is None else home.append(system)
    standing: dict[str, dict[str, Standing]] = {}
    for group in groups:
        same = {name: r for name, r in beside.items() if r.items == group[0].samples.items}
        standing |= standings(group, same, list(known.values()), own, memory)
    sequential: Sequential = {"sequential": True} if "until" in document["settings"] else {}
    found: typed.LeaderboardTable = {
        "task": document["task"], "dataset": document["dataset"], "model": document["model"],
        "items": len(rows[0][1].items), "clusters": clusters, "few_clusters": clusters < inference.min_clusters,
        "limited": document["settings"]["limit"] is not None,
        **sequential, **shared(result.Selected, document),
        "scores": [shared(typed.LeaderboardTableScore, s) | {"of_task": s["signature"] in own} for s in known.values()],
        "entries": [_entry(record, samples, standing.get(record.name, {}), memory) for record, samples in rows],
        "references": [{"explainer": name, "scores": [
            shared(typed.LeaderboardTableReferenceScore, s) for s in r.document["scores"]
        ]} for name, r in beside.items()],
    }
    raised = {name: [f.document() for f in findings.all] for name, findings in flags.raised(rows, memory).items()}
    return Table(rounded(found), raised, _wrong(rows, kept))


def _wrong(rows: Sequence[tuple[Record, Samples]], kept: References) -> dict[str, list[typed.Finding]]:
    """By record the references that it states otherwise than the repository computed them."""
    wrong: dict[str, list[typed.Finding]] = {}
    for record, samples in rows:
        findings = Findings()
        references.check([samples], kept, findings)
        if findings.errors:
            wrong.setdefault(record.name, []).extend(f.document() for f in findings.all)
    return wrong


def party(record: Record) -> str:
    """Who answers for a record: what shares one part of the admitted error (12.7.10)."""
    return record.identity or str(record.submission["submitter"]["name"]).casefold()


def _entry(
    record: Record, samples: Samples, standing: Mapping[str, Standing], memory: Memory
) -> typed.LeaderboardTableEntry:
    document = samples.document

    def count() -> dict[str, Figure]:
        return {score["signature"]: _counted(samples, score) for score in document["scores"]}

    counted: dict[str, Figure]
    counted = count() if record.key is None else memory.kept(count, "counted", record.key, document["result_id"])
    cost = document["cost"]
    explain, maps = cost["explain"], max(cost["explain"]["maps"], 1)
    why = [reason.words for reason in division.of_result(document)]
    opened: Open = {"open_because": why} if document["division"] == "open" and why else {}
    return {
        "record": record.name, "result_id": document["result_id"], "division": document["division"],
        **opened,
        "explainer": document["explainer"]["id"], "flags": document["flags"],
        "settings": shared(typed.LeaderboardTableEntrySettings, document["settings"]),
        "harness": document["harness"],
        "cost": {"forward_per_map": explain["forward_rows"] / maps, "backward_per_map": explain["backward_rows"] / maps,
                 "ms_per_map": 1000 * explain["seconds"] / maps, "device": cost["device"],
                 "score_rows": cost["score"]["rows_run"], "score_seconds": cost["score"]["seconds"]},
        "scores": [{
            **shared(typed.LeaderboardTableEntryScore, score),
            **counted[score["signature"]], **_audited(record, samples, score),
            "evidence": record.evidence_of(document["result_id"], score["signature"]),
            **_stands(standing.get(score["signature"])),
        } for score in document["scores"]],
    }


def _counted(samples: Samples, score: typed.ResultScore) -> Figure:
    """The figure of the board with its interval where items were lost; where none were, it is the mean."""
    counted = Counted.of(samples, score)
    found: Figure = {} if counted.coverage is None else {"coverage": counted.coverage}
    if counted.figure is None:
        return found
    found["figure"] = counted.figure
    if score["level"] == "set" or not samples.lost[score["signature"]].any():
        return found | {"figure_ci": score["ci"]} if "ci" in score else found
    metric = metrics.catalogue().get(score["signature"].partition("@")[0])
    how, low_high = samples.inference, score["range"]
    ci = stats.interval(counted.values, samples.clusters, range=(low_high[0], low_high[1]), inference=how,
                        binary=metric is not None and metric.binary, seed=samples.document["settings"]["seed"])
    key = next((s["ci"]["cluster_key"] for s in samples.document["scores"] if "ci" in s), None)
    return found if ci is None or key is None else found | {"figure_ci": {**ci.document(), "cluster_key": key}}


def _audited(record: Record, samples: Samples, score: typed.ResultScore) -> Figure:
    """What an audit of all items computed. Of scores in a coarser precision than fp32, it is the figure."""
    found = record.recomputed(samples.document["result_id"], score["signature"])
    if found is None or "mean" not in found:
        return {}
    said: Figure = {"audited_mean": found["mean"]}
    if samples.document["settings"]["precision"] == "fp32" or samples.lost[score["signature"]].any():
        return said
    said["figure"] = found["mean"]
    return said | {"figure_ci": found["ci"]} if "ci" in found else said


def _stands(standing: Standing | None) -> Rank:
    found: Rank = {}
    if standing is not None and standing.why_not:
        found["why_not_ranked"] = standing.why_not
    if standing is not None and standing.tied_for_best is not None:
        found["tied_for_best"] = standing.tied_for_best
    if standing is not None and standing.against:
        found["against"] = dict(standing.against)
    return found


def rounded(value: Any) -> Any:
    """A document with its numbers as other machines reproduce them."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list | tuple) else value


__all__ = ["SHOWN", "Table", "party", "rounded", "tables"]
