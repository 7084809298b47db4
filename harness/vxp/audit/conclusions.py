"""Findings and figures from what was computed again."""

from __future__ import annotations

import numpy as np
import torch
from vxp_schemas import typed

from vxp import stats
from vxp.audit import tolerances
from vxp.audit.recomputing import Again
from vxp.metrics import Bound


def scores(again: Again) -> None:
    """Findings from what lies beyond the tolerance, where it is more than rounding can explain."""
    claim, audit = again.claim, again.audit
    for bound in again.metrics:
        signature = bound.signature
        limit = tolerances.of_score(bound.signature, again.precisions)
        differences, beyond, status = again.differences[signature], again.beyond[signature], again.status[signature]
        sizes = [abs(d) for d in differences]
        within = [d for d in differences if abs(d) <= limit]
        bias, most = float(np.mean(within or [0.0])), tolerances.of_bias(within, limit)
        audit.scores.append({
            "result": claim.name, "signature": signature, "n": len(differences) + len(status),
            "tolerance": limit, "largest": max(sizes, default=0.0), "mean": float(np.mean(sizes or [0.0])),
            "beyond": len(beyond) + len(status), "bias": bias, "bias_limit": most, "recomputed": summary(again, bound)})
        if not abs(bias) <= most:
            audit.findings.add("VXP-R008", claim.document["samples"]["path"], signature, f"scores that are {bias:+.3g} off "
                               f"in the mean of {len(within)} items", f"at most {most:.3g}: rounding is to both sides")
        for path, where, said, expected in again.apart[signature]:
            audit.findings.add("VXP-R006", path, where, said, expected)
        for code, found in (("VXP-R001", beyond), ("VXP-R002", status)):
            for where, said, expected in found:
                audit.findings.add(code, claim.document["samples"]["path"], f"{where}, {signature}", said, expected)
    if again.map_off:
        _maps(again)


def coarse(again: Again) -> None:
    """A precision whose tolerance is wide raises no evidence by agreement within it: the submitter chooses the set's, and
    could move scores by it. Computed again in fp32, all of the set's scores are there to be read instead."""
    claimed, here = again.precisions
    why = None
    if here != tolerances.ORDER[0]:
        why = f"this audit computed in {here}, within whose tolerance scores can be moved: verify in {tolerances.ORDER[0]}"
    elif claimed != tolerances.ORDER[0] and not again.whole:
        why = (f"its scores were computed in {claimed}, within whose tolerance they can be moved: a sample does not tell, "
               "verify all items with --all")
    if why is not None:
        again.audit.not_checked.append({"what": f"result {again.claim.name}", "reason": why})
        again.audit.left_out = True


def summary(again: Again, bound: Bound) -> typed.AuditScoreRecomputed:
    """What the items that were computed again give for a score: of a whole set the aggregate of chapter 7, of a sample
    the number without an interval."""
    task, metric, whole = again.claim.task, bound.metric, again.whole
    parts = again.found[bound.signature]
    status = [state for part in parts for state in part.status]
    clusters = [str(again.claim.items["cluster"][row]) for row in again.rows]
    if metric.reduce is None:
        numbers = stats.summary(torch.cat([p.values for p in parts]).numpy(), status, clusters, stats.Scale.of(metric),
                                seed=task.seed, inference=task.inference)
    else:
        kept = torch.cat([p.statistics for p in parts if p.statistics is not None])
        numbers = stats.set_summary(metric.reduce, kept, status, clusters, range=metric.range, level=task.inference.level,
                                    interval=whole)
    said: typed.AuditScoreRecomputed = {"whole": whole, "n": len(status), "statuses": numbers["statuses"]}
    if "mean" in numbers:
        said["mean"] = numbers["mean"]
    if whole and "ci" in numbers:
        said["ci"] = {**numbers["ci"], "cluster_key": task.cluster_key}
    return said


def _maps(again: Again) -> None:
    limit, beyond = tolerances.of_maps(again.precisions), again.beyond.get("maps", [])
    if limit is None:
        why = (f"maps in {' and '.join(dict.fromkeys(again.precisions))} differ too much to be compared (here by "
               f"{max(again.map_off):.2g} of their range): verify in fp32")
        again.audit.not_checked.append({"what": f"{again.claim.name}: maps", "reason": why})
        return
    again.audit.maps.append({
        "result": again.claim.name, "explainer": str(again.audit.order.regenerate), "same_system": again.maker.same,
        "isolation": again.maker.isolation, "n": len(again.map_off), "tolerance": limit, "largest": max(again.map_off),
        "spearman": min(again.ranks), "beyond": len(beyond)})
    for where, said, expected in beyond:
        again.audit.findings.add("VXP-R005", f"{again.claim.folder}/set.json", where, said, expected)
    if not again.maker.same and not beyond:
        facts = again.claim.document["explainer"]
        again.audit.findings.add("VXP-F016", f"{again.claim.folder}/set.json", "/system", f"the same maps are made by "
                                f"{again.audit.order.regenerate}, which is not the system of the bundle",
                                f"the system document of the bundle, which says {facts['id']}")
