"""The board: records of one task and model side by side, as one document from which everything else is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import vxp_schemas

from vxp import division, metrics, result, stats
from vxp.compare import Samples
from vxp.leaderboard import flags, references
from vxp.leaderboard.records import Record, supersedes, why_not_superseded
from vxp.leaderboard.standing import Counted, Standing, System, standings

SHOWN = "E2"
"""The least evidence that is shown without being asked for."""
DIGITS = 9
"""Significant digits of numbers: what other machines reproduce."""


References = Mapping[references.Place, Mapping[str, Samples]]


def board(records: Sequence[Record], kept: References) -> dict[str, Any]:
    """The document of these records and of the references that the repository keeps."""
    raised = flags.raised(records)
    latest = max((r.submission["created"] for r in records), default="1970-01-01T00:00:00Z")
    submissions = [_submission(r, records, raised[r.name].all) for r in records]
    shown = {s["record"]: bool(s["shown"]) for s in submissions}
    together: dict[tuple[str, ...], list[tuple[Record, Samples]]] = {}
    for record in records:
        for samples in record.samples:
            facts = samples.document
            key = (facts["task"]["id"], f"{facts['task']['version']:09d}", facts["task"]["digest"], facts["model"]["id"],
                   facts["model"]["digest"])
            together.setdefault(key, []).append((record, samples))
    document: dict[str, Any] = _rounded({
        "type": result.TYPE.format("leaderboard"), "spec_version": vxp_schemas.SPEC_VERSION, "extensions": {},
        "latest": latest, "submissions": submissions,
        "tables": [_table(together[key], shown, kept) for key in sorted(together)],
    })
    vxp_schemas.validate(document)
    return document


def _submission(record: Record, records: Sequence[Record], raised: Sequence[Any]) -> dict[str, Any]:
    said = record.submission
    by = next((r.name for r in records if supersedes(r, record)), None)
    found = [f for f in record.report["findings"] if f["severity"] != "error"]
    found += [f for a in record.trusted for f in a["findings"]]
    found += [f.document() for f in raised]
    hidden = [f"evidence {record.evidence}, below {SHOWN}"] if record.evidence < SHOWN else []
    hidden += [f"superseded by {by}"] if by else []
    hidden += [f"withdrawn by {record.identity}: {record.withdrawn}"] if record.withdrawn else []
    return {
        "record": record.name, "submission_id": said["submission_id"], "root_digest": record.bundle.root_digest,
        "title": said["title"], "submitter": dict(said["submitter"]), "authors": list(said["authors"]),
        "division": said["division"], "license": said["license"], "created": said["created"],
        "conflicts_of_interest": said["conflicts_of_interest"], "code_available": said["code_available"],
        "statement_of_tuning": said["statement_of_tuning"], "evidence": record.evidence, "refuted": record.refuted,
        "shown": not hidden, "hidden_because": hidden,
        "method": {k: record.system["method"][k] for k in ("name", "family", "parameters")},
        "implementation": dict(record.system["implementation"]),
        **_said_by_signature(record, records),
        "audits": [_audit(name, a) | record.standings[name].document() for name, a in record.audits.items()],
        "report_digest": record.report_digest, "findings": _once(found),
        "files": _files(record),
    }


def _said_by_signature(record: Record, records: Sequence[Record]) -> dict[str, Any]:
    """Who signed the submission, what it says to supersede, and whether it is withdrawn."""
    said: dict[str, Any] = {"signature": record.signature.document()}
    if "supersedes" in record.submission:
        root = record.submission["supersedes"]
        earlier = next((r for r in records if r.bundle.root_digest == root), None)
        why = why_not_superseded(record, earlier) if earlier else "there is no record of it here"
        said["supersedes"] = {"root_digest": root, "counts": not why} | ({"why_not": why} if why else {})
    if record.withdrawal is not None:
        predicate = record.withdrawal.predicate
        said["withdrawal"] = {k: predicate[k] for k in ("created", "reason")} | record.withdrawal.standing.document()
    return said


def _audit(name: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    policy, where = predicate["policy"], predicate["environment"]
    return {"file": name, "created": predicate["created"], "verdict": predicate["verdict"], "evidence": predicate["evidence"],
            "sample": policy["sample"], "smallest_share": policy["smallest_share"], "nonce": policy["nonce"],
            "device": where["device"], "precision": where["precision"], "scores": len(predicate["scores"]),
            "largest": max((s["largest"] for s in predicate["scores"]), default=0.0),
            "not_checked": [f"{n['what']}: {n['reason']}" for n in predicate["not_checked"]]}


def _once(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Several audits may say the same."""
    found: list[dict[str, Any]] = []
    for finding in findings:
        if not any(f["code"] == finding["code"] and f["examples"] == finding["examples"] for f in found):
            found.append(dict(finding))
    return found


def _files(record: Record) -> list[dict[str, str]]:
    """The digests by which everything of the submission is known, the maps among them."""
    said = record.submission
    found = [{"path": "submission.json", "digest": record.bundle.root_digest}]
    found += [{"path": d["path"], "digest": d["digest"]} for d in (said["system"], *said["sets"], *said["results"])]
    for described in said["sets"]:
        inside = described["path"].rpartition("/")[0]
        shards = record.bundle.document(described["path"])["shards"]
        found += [{"path": f"{inside}/{s['descriptor']['path']}", "digest": s["descriptor"]["digest"]} for s in shards]
    for samples in record.samples:
        found += [{"path": d["path"], "digest": d["digest"]} for k in result.FILES
                  if (d := samples.document.get(k)) is not None]
    return found


# ----------------------------------------------------------------------------------------------------------------- tables


def _table(rows: Sequence[tuple[Record, Samples]], shown: Mapping[str, bool], kept: References) -> dict[str, Any]:
    """One task and model. Who is tied for best is said among what is shown, of rows with the same items."""
    document = rows[0][1].document
    clusters, inference = len(set(rows[0][1].clusters)), rows[0][1].inference
    known: dict[str, Mapping[str, Any]] = {}
    for _, samples in rows:
        for score in samples.document["scores"]:
            known.setdefault(score["signature"], score)
    own = frozenset(division.own_scores(document["task"]) or known)
    beside = kept.get(references.place(document), {})
    groups: list[list[System]] = []
    for record, samples in (row for row in rows if shown[row[0].name]):
        system = System(record.name, party(record), samples, frozenset(
            s for s in samples.values if record.evidence_of(samples.document["result_id"], s) >= SHOWN))
        home = next((g for g in groups if g[0].samples.items == samples.items), None)
        groups.append([system]) if home is None else home.append(system)
    standing: dict[str, dict[str, Standing]] = {}
    for group in groups:
        same = {name: r for name, r in beside.items() if r.items == group[0].samples.items}
        standing |= standings(group, same, list(known.values()), own)
    return {
        "task": document["task"], "dataset": document["dataset"], "model": document["model"],
        "items": len(rows[0][1].items), "clusters": clusters, "few_clusters": clusters < inference.min_clusters,
        "limited": document["settings"]["limit"] is not None,
        **({"selection": dict(document["selection"])} if "selection" in document else {}),
        "scores": [{**{k: s[k] for k in ("signature", "family", "better", "level", "range", "flags") if k in s},
                    "of_task": s["signature"] in own} for s in known.values()],
        "entries": [_entry(record, samples, standing.get(record.name, {})) for record, samples in rows],
        "references": [{"explainer": name, "scores": [
            {k: s[k] for k in ("signature", "n", "statuses", "mean", "ci") if k in s} for s in r.document["scores"]
        ]} for name, r in beside.items()],
    }


def party(record: Record) -> str:
    """Who answers for a record: what shares one part of the admitted error (12.7.10)."""
    return record.identity or str(record.submission["submitter"]["name"]).casefold()


def _entry(record: Record, samples: Samples, standing: Mapping[str, Standing]) -> dict[str, Any]:
    document = samples.document
    cost = document["cost"]
    explain, maps = cost["explain"], max(cost["explain"]["maps"], 1)
    why = [reason.words for reason in division.of_result(document)]
    return {
        "record": record.name, "result_id": document["result_id"], "division": document["division"],
        **({"open_because": why} if document["division"] == "open" and why else {}),
        "explainer": document["explainer"]["id"], "flags": list(document["flags"]),
        "settings": {k: document["settings"][k] for k in ("precision", "device", "batch_size", "batch_size_run", "threads",
                                                          "limit", "seed") if k in document["settings"]},
        "harness": dict(document["harness"]),
        "cost": {"forward_per_map": explain["forward_rows"] / maps, "backward_per_map": explain["backward_rows"] / maps,
                 "ms_per_map": 1000 * explain["seconds"] / maps, "device": cost["device"],
                 "score_rows": cost["score"]["rows_run"], "score_seconds": cost["score"]["seconds"]},
        "scores": [{
            **{k: score[k] for k in ("signature", "n", "statuses", "mean", "ci") if k in score},
            **_counted(samples, score), **_audited(record, samples, score),
            "evidence": record.evidence_of(document["result_id"], score["signature"]),
            **_stands(standing.get(score["signature"])),
        } for score in document["scores"]],
    }


def _counted(samples: Samples, score: Mapping[str, Any]) -> dict[str, Any]:
    """The figure of the board with its interval where items were lost; where none were, it is the mean."""
    counted = Counted.of(samples, score)
    found: dict[str, Any] = {} if counted.coverage is None else {"coverage": counted.coverage}
    if counted.figure is None:
        return found
    found["figure"] = counted.figure
    if score["level"] == "set" or not samples.lost[score["signature"]].any():
        return found | ({"figure_ci": score["ci"]} if "ci" in score else {})
    metric = metrics.catalogue().get(score["signature"].partition("@")[0])
    how, low_high = samples.inference, score["range"]
    ci = stats.interval(counted.values, samples.clusters, range=(low_high[0], low_high[1]), level=how.level,
                        binary=metric is not None and metric.binary, resamples=how.resamples,
                        seed=samples.document["settings"]["seed"])
    key = next((s["ci"]["cluster_key"] for s in samples.document["scores"] if "ci" in s), None)
    return found | ({} if ci is None or key is None else {"figure_ci": asdict(ci) | {"cluster_key": key}})


def _audited(record: Record, samples: Samples, score: Mapping[str, Any]) -> dict[str, Any]:
    """What an audit of all items computed. Of scores in a coarser precision than fp32, it is the figure."""
    found = record.recomputed(samples.document["result_id"], score["signature"])
    if found is None or "mean" not in found:
        return {}
    said = {"audited_mean": found["mean"]}
    if samples.document["settings"]["precision"] == "fp32" or samples.lost[score["signature"]].any():
        return said
    return said | {"figure": found["mean"]} | ({"figure_ci": found["ci"]} if "ci" in found else {})


def _stands(standing: Standing | None) -> dict[str, Any]:
    if standing is None:
        return {}
    return {**({"why_not_ranked": standing.why_not} if standing.why_not else {}),
            **({} if standing.tied_for_best is None else {"tied_for_best": standing.tied_for_best}),
            **({"against": dict(standing.against)} if standing.against else {})}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value


__all__ = ["SHOWN", "board", "party"]
