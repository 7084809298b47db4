"""Counts, means and intervals computed again from the rows, and held against the document. Part of the level consistency."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from vxp_schemas import typed

from vxp import metrics, stats
from vxp.core import OK, Metric, VxpError
from vxp.documents import Taken
from vxp.models.loading import RELABELLED
from vxp.runs import result
from vxp.validation import arrays
from vxp.validation.arrays import Table
from vxp.validation.state import AResult, State

Number = Literal["mean", "mean_worst_bound", "median", "sd"]
RTOL = 1e-9
"""Aggregates computed again on another machine differ by the order of sums only."""
RTOL_CI = 1e-6
MADE: Final[tuple[Literal["level", "method", "resamples", "seed", "n_clusters"], ...]] = (
    "level", "method", "resamples", "seed", "n_clusters")
"""What an interval says of how it was made."""
KNOWN: Final[dict[str, stats.Aggregate]] = {}
"""Aggregates by what they are computed from: the references of one task are the same in all of its results."""


def inference_of(state: State, document: typed.Result) -> stats.Inference:
    """What the task's card fixes, or where nobody here has the card what the result says of it."""
    task = state.entry("tasks", document["task"], Taken.of(document["settings"]))
    return stats.Inference.of(document["inference"] if task is None else task["statistics"])


@dataclass(frozen=True, eq=False)
class Rows:
    """The numbers per item of one score, of the result itself or of a reference, and where its statistics are."""

    signature: str
    tensor: str
    field: Literal["statistics", "reference_statistics"]
    values: np.ndarray
    status: Sequence[Any]


@dataclass(frozen=True, eq=False)
class Aggregates:
    """What all scores of one result share, to compute their counts, means and intervals again."""

    state: State
    result: AResult
    task: typed.Task | None
    clusters: Sequence[str]
    inference: stats.Inference

    @classmethod
    def of(cls, state: State, result_: AResult, samples: Table) -> Aggregates:
        document = result_.document
        task = state.entry("tasks", document["task"], Taken.of(document["settings"]))
        return cls(state, result_, task, [str(c) for c in samples["cluster"]], inference_of(state, document))

    def check(self, samples: Table) -> None:
        """Every score of the result, then those of the references beside it."""
        state, result_, document = self.state, self.result, self.result.document
        clusters, inference = self.clusters, self.inference
        if inference.few(clusters):
            state.findings.add("VXP-F007", result_.path, "", f"{len(set(clusters))} clusters",
                               f"{inference.min_clusters} or more")
            if "few-clusters" not in document["flags"]:
                state.findings.add("VXP-K019", result_.path, "/flags", f"{document['flags']}", "the flag few-clusters")
        for number, score in enumerate(document["scores"]):
            signature = score["signature"]
            rows = Rows(signature, signature, "statistics", samples[signature], samples[f"{signature}#status"])
            self._could_have_run(number, score)
            self._aggregate(f"/scores/{number}", score, rows, {
                "mean": score.get("mean"), "mean_worst_bound": score.get("mean_worst_bound"), "median": score.get("median"),
                "sd": score.get("sd")})
        found = result_.reference_samples
        places = result.reference_rows(document, samples.rows)
        if found is None or found.rows != len(places) * samples.rows:
            return  # VXP-K018 or VXP-C024 says so
        for number, reference in enumerate(document["references"]):
            for index, beside in enumerate(reference["scores"]):
                place = reference["explainer"], beside["signature"]
                rows = Rows(beside["signature"], "/".join(place), "reference_statistics", found["value"][places[place]],
                            found["status"][places[place]])
                self._aggregate(f"/references/{number}/scores/{index}", beside, rows, {"mean": beside.get("mean")})
        self._ties(found, places)

    def _could_have_run(self, number: int, score: typed.ResultScore) -> None:
        """A score that was left out for a reason that the task, the system or the metric does not have."""
        state, result_, task = self.state, self.result, self.task
        metric = _installed(score["signature"])
        if metric is None or task is None:
            return
        limit = task["budget"].get("max_passes_per_map")
        passes = int(state.system["method"]["needs"]["passes_per_map"]) if state.system is not None else 0
        holds = {"not-run:kind": not set(metric.kinds) & set(task["kinds"]),
                 "not-run:no-truth": not set(metric.truth) & set(task["truth"]),
                 "not-run:budget": metric.re_explains and limit is not None and passes > limit,
                 "not-run:reference": False, "not-run:no-explainer": metric.re_explains,
                 "not-run:no-relabelled-model": metric.needs_relabelled and result_.document["model"]["id"] not in RELABELLED}
        for status in score["statuses"]:
            if not holds.get(status, True):
                state.findings.add("VXP-K027", result_.path, f"/scores/{number}/statuses", f"{status}: {score['signature']}",
                                   "a number, or the reason that holds")

    def _aggregate(
        self, where: str, score: typed.ResultReferenceScore, rows: Rows, numbers: Mapping[Number, float | None],
    ) -> None:
        state, result_ = self.state, self.result
        status = [str(s) for s in rows.status]
        counts = dict(Counter(status))
        if score["n"] != len(status) or score["statuses"] != counts:
            state.findings.add("VXP-K009", result_.path, where, f"n {score['n']}, {score['statuses']}",
                               f"n {len(status)}, {counts}")
        known = _installed(rows.signature)
        if known is None:
            state.not_checked(f"aggregate of {rows.signature}", "its metric is not installed here in this version")
            return
        again = self._again(rows, status, known)
        if again is None:
            return
        for field, number in numbers.items():
            if not _same(number, again.get(field), RTOL):
                state.findings.add("VXP-K010", result_.path, f"{where}/{field}", f"{number} for {rows.signature}",
                                   f"{again.get(field)}, computed from the samples")
        for problem, expected in _interval(score.get("ci"), again.get("ci"), self.task):
            state.findings.add("VXP-K011", result_.path, f"{where}/ci", f"{problem} for {rows.signature}", expected)

    def _ties(self, found: Table, places: Mapping[tuple[str, str], slice]) -> None:
        """The flag of scores in which no reference differs from another."""
        for number, score in enumerate(self.result.document["scores"]):
            signature, metric = score["signature"], _installed(score["signature"])
            if metric is None or metric.reduce is not None:
                continue
            numbers = [found["value"][place] for (_, s), place in places.items() if s == signature]
            raised, wanted = result.TIE in score.get("flags", ()), result.can_tie(metric) and stats.tie(numbers)
            if raised != wanted:
                self.state.findings.add("VXP-K019", self.result.path, f"/scores/{number}/flags",
                                        f"{score.get('flags', 'none')}",
                                        f"the flag {result.TIE}: all references have the same numbers" if wanted else
                                        f"no flag {result.TIE}: the references differ")

    def _again(self, rows: Rows, status: Sequence[str], metric: Metric) -> stats.Aggregate | None:
        """The aggregate of one score, computed again."""
        state, result_, clusters, inference = self.state, self.result, self.clusters, self.inference
        seed = int(result_.document["settings"]["seed"])
        if metric.reduce is None:
            values = np.where([s == OK for s in status], rows.values, np.nan)
            facts = repr((metric.name, seed, inference, status, clusters)).encode(errors="surrogatepass")
            key = hashlib.sha256(facts + values.tobytes()).hexdigest()
            if key not in KNOWN:
                KNOWN[key] = stats.summary(values, status, clusters, stats.Scale.of(metric),
                                           seed=seed, inference=inference)
            return KNOWN[key]
        tensor = (getattr(result_, rows.field) or {}).get(rows.tensor)
        if tensor is None:
            if any(s == OK for s in status):
                state.findings.add("VXP-C023", result_.path, f"/{rows.field}", f"no statistics of {rows.tensor}",
                                   "what the metric of the set keeps of every item")
                return None
            return {"n": len(status), "statuses": {}}
        with state.bundle.stream(result_.document[rows.field]["path"]) as stream:
            kept = torch.from_numpy(arrays.values(stream, tensor).copy())
        if kept.ndim < 2 or len(kept) != len(status):
            return None  # VXP-C023 says so
        try:
            return stats.set_summary(metric.reduce, kept, status, clusters, range=metric.range, level=inference.level)
        except (VxpError, ValueError, RuntimeError, IndexError) as error:
            state.findings.add("VXP-C023", result_.document[rows.field]["path"], f"tensor {rows.tensor}",
                               f"shape {list(kept.shape)}, which does not reduce ({' '.join(str(error).split())[:200]})",
                               "the statistics that the metric keeps")
            return None


def _installed(signature: str) -> Metric | None:
    known = metrics.catalogue().get(signature.partition("@")[0])
    return known if known is not None and known.name == signature.partition("|")[0] else None


def _same(found: float | None, again: float | None, rtol: float) -> bool:
    if found is None or again is None:
        return found is None and again is None
    return math.isclose(found, again, rel_tol=rtol, abs_tol=rtol)


def _interval(
    found: typed.Ci | None, again: stats.Ends | None, task: typed.Task | None,
) -> Iterator[tuple[str, str]]:
    """What differs in an interval, and what was expected."""
    if found is None or again is None:
        if again is not None:
            yield "no interval", f"one by {again['method']}"
        elif found is not None:
            yield "an interval", "none: too few clusters"
        return
    for field in MADE:
        if found[field] != again[field]:
            yield f"{field} {found[field]}", f"{again[field]}"
    for end in ("lo", "hi"):
        if not _same(found[end], again[end], RTOL_CI):
            yield f"{end} {found[end]}", f"{again[end]}, computed from the samples"
    if task is not None and found["cluster_key"] != task["cluster_key"]:
        yield f"cluster_key {found['cluster_key']}", f"{task['cluster_key']}, the task's"
