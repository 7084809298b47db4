"""What the looks of a sequential result say, held against its samples (7.5). Part of the level consistency."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import vxp_schemas
from vxp_schemas import typed

from vxp import stats
from vxp.core import OK, VxpError
from vxp.documents import listed
from vxp.runs import result
from vxp.runs.looking import FLOOR
from vxp.stats import sequential
from vxp.validation.arrays import Table
from vxp.validation.state import AResult, State

RTOL = 1e-6
"""Sums of logarithms computed again on another machine."""
OWN = "faithfulness"
"""The family that tasks of one's own images and clips are for."""
SAID = "VXP-K031"
Fault = tuple[str, str, str]
"""Where in the document, what was found, what was expected."""


def check(state: State, result_: AResult, inference: stats.Inference) -> None:
    """Every fault of the field `sequential`; none of a result that has it not and need not."""
    document = result_.document
    asked, said = document["settings"].get("until"), document.get("sequential")
    if asked is None and said is None:
        return
    if asked is None or said is None:
        there, lacking = ("sequential", "/settings/until") if asked is None else ("/settings/until", "sequential")
        state.findings.add(SAID, result_.path, "/sequential", f"{there} without {lacking}", "both, or neither")
        return
    if result_.samples is None:
        return
    try:
        found = Looked(document, said, sequential.until(asked), result_.samples, result_.reference_samples, inference)
        faults = list(found.faults())
    except VxpError as error:
        state.findings.add(SAID, result_.path, "/settings/until", ascii(asked)[1:-1], str(error))
        return
    for where, there, expected in faults:
        state.findings.add(SAID, result_.path, where, there, expected)


@dataclass(frozen=True, eq=False)
class Looked:
    """A sequential result with its tables."""

    document: typed.Result
    said: typed.ResultSequential
    question: sequential.Until
    samples: Table
    beside: Table | None
    inference: stats.Inference

    def faults(self) -> Iterator[Fault]:
        clusters = [str(c) for c in self.samples["cluster"]]
        yield from self._whole(clusters)
        at = list(self._looks(clusters))
        yield from self._stops(at, clusters)
        yield from self._found(at, clusters)

    def _whole(self, clusters: Sequence[str]) -> Iterator[Fault]:
        """Clusters came one after the other, and the largest is that of the task, where the task is known."""
        blocks = [name for name, _ in groupby(clusters)]
        if len(set(blocks)) != len(blocks):
            again = next(name for name, n in Counter(blocks).items() if n > 1)
            yield self.document["samples"]["path"], f"cluster {ascii(again)[1:-1][:200]} in two places", "whole clusters"
        named = self.document["task"]
        card = vxp_schemas.registry("tasks").get(f"{named['id']}@{named['version']}")
        largest, least = self.said["largest_cluster"], max(Counter(clusters).values())
        if card is not None and "items" in card:
            own = max(Counter(item["cluster"] for item in listed(card["items"]["path"])).values())
            if largest != own:
                yield "/sequential/largest_cluster", str(largest), f"{own}, in the task"
        elif largest < least:
            yield "/sequential/largest_cluster", str(largest), f"{least} or more, as the rows say"

    def _looks(self, clusters: Sequence[str]) -> Iterator[int]:
        """The looks that there must have been."""
        there = len(set(clusters))
        whole = self.document["selection"]["of_clusters"] if "selection" in self.document else there
        return (n for n in sequential.looks(whole, self.inference.min_clusters) if n <= there)

    def _stops(self, at: Sequence[int], clusters: Sequence[str]) -> Iterator[Fault]:
        """Looks come when they must, and the run ends at the first one that leaves nothing undecided, or with the task."""
        looks = self.said["looks"]
        names = list(dict.fromkeys(clusters))
        expected = [(n, sum(c in set(names[:n]) for c in clusters)) for n in at]
        if [(look["clusters"], look["items"]) for look in looks] != expected or at[-1:] != [len(names)]:
            yield "/sequential/looks", f"{[(look['clusters'], look['items']) for look in looks]}", \
                f"{expected}, clusters and items, as the rows say"
            return
        left = [look["undecided"] for look in looks]
        whole = len(names) == self.document.get("selection", {}).get("of_clusters")
        if 0 in left[:-1] or (left[-1] > 0 and not whole) or left != sorted(left, reverse=True):
            yield "/sequential/looks", f"undecided: {left}", "a run that ends with the first 0, or with the task's last cluster"

    def _found(self, at: Sequence[int], clusters: Sequence[str]) -> Iterator[Fault]:
        """Comparisons with the references beside the result are those that its samples give, and none is missing."""
        family = result.first_family(self.document["task"]) or OWN
        watched = {s["signature"]: s for s in sequential.watched(self.document["scores"], self.question, family)}
        names = {r["result_id"]: r["explainer"] for r in self.document["references"]}
        floor = {(id, s) for id, name in names.items() if name == FLOOR for s in watched}
        own = self.document["explainer"]["reference"]
        missing = floor - {(f["other"], f["signature"]) for f in self.said["found"]}
        if missing and not own:
            yield "/sequential/found", f"{len(missing)} comparisons with {FLOOR} missing", "one for every score that was asked"
        for number, found in enumerate(self.said["found"]):
            where = f"/sequential/found/{number}"
            if found["signature"] not in watched:
                yield where, found["signature"], f"a score that was asked: {', '.join(watched)}"[:300]
                continue
            yield from self._adjusted(where, found, at)
            if found["other"] in names:
                yield from self._again(where, found, watched[found["signature"]], names[found["other"]], (at, clusters))

    def _adjusted(self, where: str, found: typed.ResultSequentialFound, at: Sequence[int]) -> Iterator[Fault]:
        """The adjusted p lies where a correction can put it, and what is decided follows from it or from the interval."""
        most = min(1.0, found["p"] * self.said["comparisons"])
        if not found["p"] * (1 - RTOL) <= found["p_adjusted"] <= most * (1 + RTOL):
            yield f"{where}/p_adjusted", str(found["p_adjusted"]), f"{found['p']} to {most}"
        decided = found.get("decided")
        if decided is not None and decided not in at:
            yield f"{where}/decided", str(decided), "the clusters of a look"
        if self.question.width is None:
            meets = self.inference.separated(found["p_adjusted"], found["clusters"])
            if meets != (decided is not None):
                yield f"{where}/decided", str(decided), "a look" if meets else f"none: p is {found['p_adjusted']}"

    def _again(
        self, where: str, found: typed.ResultSequentialFound, score: typed.ResultScore, reference: str,
        looks: tuple[Sequence[int], Sequence[str]],
    ) -> Iterator[Fault]:
        """The comparison with a reference, computed again."""
        at, clusters = looks
        rows = result.reference_rows(self.document, self.samples.rows).get((reference, found["signature"]))
        if rows is None or self.beside is None or self.beside.rows < rows.stop:
            return  # VXP-K018 or VXP-C024 says so
        own = _numbers(self.samples[found["signature"]], self.samples[f"{found['signature']}#status"])
        other = _numbers(self.beside["value"][rows], self.beside["status"][rows])
        apart = sequential.differences(own, other, clusters, (score["range"][0], score["range"][1]),
                                       self.said["largest_cluster"])
        lo, hi = apart.interval(at[-1], self.inference.level)
        computed = {"n": float(apart.counts.sum()), "clusters": float((apart.counts > 0).sum()), "delta": apart.mean(at[-1]),
                    "lo": lo, "hi": hi, "p": float(apart.p(at)[-1])}
        for key, value in computed.items():
            there = found.get(key)
            there = math.nan if not isinstance(there, int | float) else there
            if not (math.isclose(there, value, rel_tol=RTOL, abs_tol=0 if key == "p" else RTOL)
                    or (math.isnan(there) and math.isnan(value))):
                yield f"{where}/{key}", str(there), f"{value}, computed again"


def _numbers(values: np.ndarray, statuses: Sequence[str]) -> np.ndarray:
    return np.where([status == OK for status in statuses], np.asarray(values, float), np.nan)
