"""Who is tied for best and who beats the references, by rules under which neither hiding items nor crowding pays (12.7.8 to
12.7.10): every item counts, comparisons are with the best only, and nobody's many systems cost another anything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from vxp_schemas import typed

from vxp import stats
from vxp.leaderboard.known import NOTHING, Memory
from vxp.report import compare
from vxp.report.compare import Samples

COVERAGE = 0.9
"""The least share of the items that an explanation could have a number for, and has, to be ranked."""
NEITHER = "neither direction is better"
"""Why nobody is ranked on a description."""
Verdict = Literal["better", "worse", "not-separated"]
"""Of the test of a system against a reference."""


@dataclass(frozen=True, eq=False)
class System:
    """A result that may be ranked: its record, the party that answers for it, its numbers, and the signatures of it that an
    audit computed again."""

    record: str
    party: str
    samples: Samples
    checked: frozenset[str]

    def counted(self, score: typed.ResultScore) -> Counted:
        """Its numbers of a score as the board counts them."""
        return Counted.of(self.samples, score)

    @cached_property
    def stated(self) -> dict[str, typed.ResultScore]:
        return {s["signature"]: s for s in self.samples.document["scores"]}


@dataclass(frozen=True, eq=False)
class Counted:
    """The numbers of a score with every item that the explanation lost at the worst end. values: per item, NaN where the
    item itself has no number for anybody; coverage: the share of the others that the explanation has a number for, None
    where there are none; figure: the number that is shown and ranked."""

    values: np.ndarray
    coverage: float | None
    figure: float | None

    @classmethod
    def of(cls, samples: Samples, score: typed.ResultScore) -> Counted:
        signature = score["signature"]
        values, lost = samples.values[signature], samples.lost[signature]
        kept = samples.kept.get(signature)
        has = int((np.isfinite(values) if kept is None else kept.ok).sum())
        could = has + int(lost.sum())
        coverage = has / could if could else None
        if score["level"] == "set":  # a number of the set has no items to put at an end: coverage is all that holds it
            stated = next(s for s in samples.document["scores"] if s["signature"] == signature)
            return cls(values, coverage, stated.get("mean"))
        if not has:
            return cls(values, coverage, None)
        if score["better"] == "neither":  # no end is the worst
            return cls(values, coverage, float(np.nanmean(values)))
        low, high = score["range"]
        worst = low if score["better"] == "higher" else high
        if worst is None:  # no end: as bad as its own worst item
            known = values[np.isfinite(values)]
            worst = known.min() if score["better"] == "higher" else known.max()
        filled = np.where(lost, worst, values)
        return cls(filled, coverage, float(np.nanmean(filled)))


@dataclass(frozen=True)
class Standing:
    """How a system does on one score. why_not: why it is in no test, if it is in none; against: by reference."""

    figure: float | None = None
    coverage: float | None = None
    why_not: str = ""
    tied_for_best: bool | None = None
    against: Mapping[str, Verdict] = field(default_factory=dict)


def standings(
    systems: Sequence[System], references: Mapping[str, Samples], scores: Sequence[typed.ResultScore], own: frozenset[str],
    memory: Memory = NOTHING,
) -> dict[str, dict[str, Standing]]:
    """By record and signature how the systems of one task, model and list of items stand.

    references: the task's references by id. own: the signatures of the task's own metrics; no other score is tested, since
    whoever adds scores would make the tests of all weaker. memory: has the p of tests that were made before.
    """
    found: dict[str, dict[str, Standing]] = {s.record: {} for s in systems}
    families: dict[str, list[typed.ResultScore]] = {}
    for score in scores:
        families.setdefault(score["family"], []).append(score)
    parties = len({s.party for s in systems})
    for family in families.values():
        ranked = {score["signature"]: _ranked(systems, score, own, found) for score in family}
        _best(family, ranked, parties, found, memory)
        _references(family, ranked, references, parties, found, memory)
    return found


Ranked = dict[str, tuple[System, Counted]]
"""By record the systems that are ranked on a score, and their numbers."""


def _ranked(
    systems: Sequence[System], score: typed.ResultScore, own: frozenset[str], found: dict[str, dict[str, Standing]]
) -> Ranked:
    """The systems that are ranked on a score; all that have it get their figure and coverage."""
    signature, ranked = score["signature"], {}
    for system in systems:
        if signature not in system.stated:
            continue
        counted = system.counted(score)
        why = NEITHER if score["better"] == "neither" else _why_not(system, signature, counted, own)
        found[system.record][signature] = Standing(counted.figure, counted.coverage, why)
        if not why:
            ranked[system.record] = system, counted
    return ranked


def _why_not(system: System, signature: str, counted: Counted, own: frozenset[str]) -> str:
    if counted.figure is None:
        return "no number"
    if signature not in own:
        return "not a metric of the task"
    if "until" in system.samples.document["settings"]:
        return "sequential, and whoever looks early stops at luck"
    precision = system.samples.document["settings"]["precision"]
    if precision != "fp32":  # within whose tolerance, which is wide, its submitter may have moved the scores of items
        return f"scored in {precision}, and fp32 is compared"
    if signature not in system.checked:
        return "not computed again by an audit"
    if counted.coverage is None or counted.coverage < COVERAGE:
        return f"a number for {counted.coverage or 0:.0%} of the items, below {COVERAGE:.0%}"
    return ""


def _best(
    family: Sequence[typed.ResultScore], ranked: Mapping[str, Ranked], parties: int, found: dict[str, dict[str, Standing]],
    memory: Memory,
) -> None:
    """Every ranked system against the one with the best figure: multiple comparisons with the best (Hsu 1981).

    p is taken times the scores of the family, the parties, and the systems of the best one's party that the system could
    have lost to. So a system that is truly best is left unmarked with a probability of at most 5 %, summed over whoever could
    be luckier; a party pays for its many systems where one of them leads, and nowhere else.
    """
    tested = [score for score in family if len(ranked[score["signature"]]) > 1]
    for score in tested:
        some = ranked[score["signature"]]
        sign = 1 if score["better"] == "higher" else -1
        top = max(some, key=lambda record: sign * (some[record][1].figure or 0.0))
        ahead = some[top][0].party
        leaders = sum(system.party == ahead for system, _ in some.values())
        for record, (system, counted) in some.items():
            chances = len(tested) * parties * (leaders - (system.party == ahead))
            apart = record != top and _Test(score, system, counted, *some[top], memory).separated(chances)
            tied = not apart and not system.samples.inference.few(system.samples.clusters)
            found[record][score["signature"]] = replace(found[record][score["signature"]], tied_for_best=tied)


def _references(
    family: Sequence[typed.ResultScore], ranked: Mapping[str, Ranked], references: Mapping[str, Samples], parties: int,
    found: dict[str, dict[str, Standing]], memory: Memory,
) -> None:
    """Every ranked system against every reference of the task: p by Holm over the tests of one party, times the number of
    parties, so that how many systems one party has changes nothing for another."""
    of_party: dict[str, list[_Test]] = {}
    for score in family:
        for name, reference in references.items():
            beside = Counted.of(reference, score) if score["signature"] in reference.values else None
            if beside is None or beside.figure is None:
                continue
            other = System(name, "", reference, frozenset())
            for system, counted in ranked[score["signature"]].values():
                if not system.samples.inference.few(system.samples.clusters):
                    of_party.setdefault(system.party, []).append(_Test(score, system, counted, other, beside, memory))
    for tests in of_party.values():
        how = tests[0].a.samples.inference
        p_values = [test.p(len(tests) * parties) for test in tests]
        for test, p in zip(tests, how.adjusted(p_values), strict=True):
            apart = how.separated(p if how.correction == "none" else min(1.0, parties * p), test.clusters)
            verdict: Verdict = "not-separated" if not apart else "better" if test.wins else "worse"
            standing = found[test.a.record][test.score["signature"]]
            found[test.a.record][test.score["signature"]] = replace(
                standing, against={**standing.against, test.b.record: verdict})


@dataclass(frozen=True)
class _Test:
    """The paired difference of a system to the best or to a reference."""

    score: typed.ResultScore
    a: System
    of_a: Counted
    b: System
    of_b: Counted
    memory: Memory

    @cached_property
    def paired(self) -> stats.Paired:
        signature = self.score["signature"]
        return compare.difference(self.score, self.a.samples.with_values(signature, self.of_a.values),
                                  self.b.samples.with_values(signature, self.of_b.values))

    @property
    def wins(self) -> bool:
        higher = (self.of_a.figure or 0.0) > (self.of_b.figure or 0.0)
        return bool(higher == (self.score["better"] == "higher"))

    @cached_property
    def clusters(self) -> int:
        """Clusters that have an item with both numbers."""
        if self.score["level"] == "set":
            return self.paired.n_clusters
        both = np.isfinite(self.of_a.values) & np.isfinite(self.of_b.values)
        return stats.count_of_clusters(self.a.samples.clusters, both)

    def p(self, chances: int) -> float:
        """The p of the test, or a bound that decides it whichever of `chances` tests it is: above 5 % from below, or under the
        smallest limit from above."""
        how = self.a.samples.inference
        if self.score["level"] != "set":
            low, high = stats.sign_flip_bounds(self.of_a.values, self.of_b.values, self.a.samples.clusters)
            if how.separated(high * (1 if how.correction == "none" else chances), how.min_clusters):
                return high
            if not how.separated(low, how.min_clusters):
                return low
            return self._drawn()
        return self.paired.p

    def _drawn(self) -> float:
        """The p of drawn signs, which takes most of a board's time."""
        numbers = hashlib.sha256(self.of_a.values.tobytes() + self.of_b.values.tobytes()).hexdigest()
        follows = "p", numbers, *self.a.samples.clusters
        return float(self.memory.kept(lambda: self.paired.p, *follows))

    def separated(self, chances: int) -> bool:
        how = self.a.samples.inference
        p = self.p(chances)
        return how.separated(p if how.correction == "none" else min(1.0, chances * p), self.clusters)


__all__ = ["COVERAGE", "Counted", "Standing", "System", "standings"]
