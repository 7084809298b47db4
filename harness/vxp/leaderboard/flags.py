"""What shows only beside other submissions: copies under another name, and gains on every item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import combinations

import numpy as np

from vxp.documents.findings import Findings
from vxp.leaderboard.known import NOTHING, Memory
from vxp.leaderboard.records import Record, supersedes
from vxp.leaderboard.references import place
from vxp.metrics import catalogue
from vxp.report.compare import Samples

ALIKE = 0.5
"""Share of items that have one score in two submissions, in two of their scores, from which they are called copies. (Of the
22 reference explainers on three tasks, no two methods have more than 0.04.)"""
CLOSE = 1e-6
TOGETHER = 0.99
"""Median concordance (Lin 1989) over scores from which two submitters' methods are said to behave alike."""
MANY = 20
"""Differing scores from which a gain on every one of them is no chance."""
BETTER = 0.99
JUDGED = ("faithfulness", "localisation", "alignment")
"""Families in which a real change makes some items worse."""
FEW = 5
"""Items with both numbers below which a concordance says nothing."""

Entry = tuple[Record, Samples]


def raised(rows: Sequence[Entry], memory: Memory = NOTHING) -> dict[str, Findings]:
    """The flags of every record by its name, of results on one task and model.

    memory: knows which of the results that were there before are alike, so that only new ones are compared.
    """
    found = {record.name: Findings() for record, _ in rows}
    for entries in _on_same_items(rows):
        for i, j, likeness in _alike(entries, memory):
            _copies(entries[i], entries[j], likeness, found)
        for one, other in _of_one_submitter(entries):
            _gains(one, other, found)
    return found


def _on_same_items(rows: Sequence[Entry]) -> list[list[Entry]]:
    groups: list[list[Entry]] = []
    for entry in rows:
        home = next((g for g in groups if g[0][1].items == entry[1].items), None)
        groups.append([entry]) if home is None else home.append(entry)
    return groups


@dataclass(frozen=True)
class Likeness:
    """Of two results: whether their maps are the same, the share of items with equal scores, the concordance of scores."""

    maps: bool
    equal: float
    together: float

    def __bool__(self) -> bool:
        return self.maps or self.equal >= ALIKE or self.together >= TOGETHER


def _alike(entries: Sequence[Entry], memory: Memory) -> list[tuple[int, int, Likeness]]:
    """The pairs that are alike in one of these."""
    keys = [f"{record.key} {samples.document['result_id']}" for record, samples in entries]
    home = ("alike", *place(entries[0][1].document), *entries[0][1].items)
    there = memory.get(*home) or {"compared": [], "pairs": []}
    numbers = {key: i for i, key in enumerate(keys)}
    compared = set(there["compared"])
    new = [i for i, (record, _) in enumerate(entries) if record.key is None or keys[i] not in compared]
    fresh = set(new)
    pairs = [(numbers[a], numbers[b], Likeness(*how)) for a, b, *how in there["pairs"]
             if {a, b} <= numbers.keys() and not {numbers[a], numbers[b]} & fresh]
    if new:
        maps = [record.payload(samples.document["result_id"], memory) for record, samples in entries]
        equal, together = _equal(entries, new), _together(entries, new)
        for k, i in enumerate(new):
            for j in range(len(entries)):
                likeness = Likeness(maps[i] == maps[j], float(equal[k, j]), float(together[k, j]))
                if likeness and (i < j or j not in fresh):  # of two new ones the pair comes once
                    pairs.append((min(i, j), max(i, j), likeness))
        memory.put({"compared": keys, "pairs": [(keys[i], keys[j], *astuple(how)) for i, j, how in pairs]}, *home)
    return sorted(pairs, key=lambda pair: pair[:2])


def _columns(entries: Sequence[Entry]) -> Iterator[np.ndarray]:
    """Of every score of items that can tell maps apart, the numbers [systems, items]; NaN where there is none."""
    known = catalogue()
    for signature in dict.fromkeys(s for _, samples in entries for s in samples.values):
        metric = known.get(signature.partition("@")[0])
        if any(samples.kept.get(signature) for _, samples in entries) or (metric is not None and metric.binary):
            continue
        nothing = np.full(len(entries[0][1].items), np.nan)
        yield np.stack([samples.values.get(signature, nothing) for _, samples in entries])


def _equal(entries: Sequence[Entry], which: Sequence[int]) -> np.ndarray:
    """Of `which` systems and all [which, systems] the second largest share, over scores, of items that have the same number.

    0 and 1 do not count: maps of any kind meet at the ends of a range. One score may be prone to ties; two are not.
    """
    largest = np.zeros((2, len(which), len(entries)))
    for numbers in _columns(entries):
        telling = np.isfinite(numbers) & (np.abs(numbers) > CLOSE) & (np.abs(numbers - 1) > CLOSE)
        for k, i in enumerate(which):
            close = np.abs(numbers[i] - numbers) <= CLOSE * np.maximum(1, np.abs(numbers[i]))
            share = (close & telling & telling[i]).mean(axis=1)
            largest[1, k] = np.maximum(largest[1, k], np.minimum(largest[0, k], share))
            largest[0, k] = np.maximum(largest[0, k], share)
    second: np.ndarray = largest[1]
    return second


def _together(entries: Sequence[Entry], which: Sequence[int]) -> np.ndarray:
    """Of `which` systems and all [which, systems] the median concordance over scores; 0 where no score has one."""
    found = []
    for numbers in _columns(entries):
        known = np.isfinite(numbers)
        filled = np.where(known, numbers, 0.0)
        own, has = filled[which], known[which].astype(float)
        both = has @ known.T
        with np.errstate(invalid="ignore", divide="ignore"):
            # of either, over the items that the other has as well
            mean, other = (own @ known.T) / both, (has @ filled.T) / both
            square, others = (own**2) @ known.T / both, has @ (filled**2).T / both
            cross = (own @ filled.T) / both
            concordance = 2 * (cross - mean * other) / (square - mean**2 + others - other**2 + (mean - other) ** 2)
        found.append(np.where(both >= FEW, concordance, np.nan))
    stacked = np.stack(found) if found else np.full((1, len(which), len(entries)), np.nan)
    lacking = np.isnan(stacked).all(axis=0)
    stacked[:, lacking] = 0.0
    middle: np.ndarray = np.nanmedian(stacked, axis=0)
    return middle


def _copies(one: Entry, other: Entry, likeness: Likeness, found: Mapping[str, Findings]) -> None:
    (a, first), (b, second) = one, other
    if a is b or supersedes(a, b) or supersedes(b, a):
        return
    ids = first.document["result_id"], second.document["result_id"]
    if likeness.maps:
        code, said = "VXP-F011", "the same maps, byte for byte"
    elif likeness.equal >= ALIKE:
        code, said = "VXP-F011", f"equal scores on {likeness.equal:.0%} of the items"
    elif a.submission["submitter"] != b.submission["submitter"]:
        code, said = "VXP-F030", f"scores that rise and fall together (median concordance {likeness.together:.4f})"
    else:
        return
    for own, theirs, mine in ((a, b, ids[0]), (b, a, ids[1])):
        found[own.name].add(code, mine, theirs.name, f"{said} as {theirs.submission['submission_id']} "
                            f"({theirs.submission['submitter']['name']})", "maps that no other submission has")


def _of_one_submitter(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Pairs of results in different records of one submitter."""
    of_name: dict[str, list[Entry]] = {}
    for record, samples in entries:
        of_name.setdefault(record.submission["submitter"]["name"].casefold(), []).append((record, samples))
    for some in of_name.values():
        yield from (pair for pair in combinations(some, 2) if pair[0][0] is not pair[1][0])


def _gains(one: Entry, other: Entry, found: Mapping[str, Findings]) -> None:
    """A submission that is better than the submitter's earlier one of the same method wherever the two differ."""
    (a, first), (b, second) = one, other
    if first.name != second.name and not (supersedes(a, b) or supersedes(b, a)):
        return  # another method, which may well be better everywhere
    (old, before), (new, after) = sorted((one, other), key=lambda pair: pair[0].submission["created"])
    differing = better = 0
    for score in after.document["scores"]:
        signature = score["signature"]
        if score["family"] not in JUDGED or score["level"] != "sample" or signature not in before.values:
            continue
        if score["better"] == "neither":
            continue
        gain = after.values[signature] - before.values[signature]
        gain = gain[np.isfinite(gain) & (np.abs(gain) > CLOSE)] * (1 if score["better"] == "higher" else -1)
        differing, better = differing + len(gain), better + int((gain > 0).sum())
    if differing >= MANY and better >= BETTER * differing:
        found[new.name].add("VXP-F012", after.document["result_id"], old.name, f"better in {better} of {differing} scores per "
                            "item that differ", "some items that got worse")


__all__ = ["raised"]
