"""What shows only beside other submissions: copies under another name, and gains on every item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from vxp.compare import Samples
from vxp.findings import Findings
from vxp.leaderboard.records import Record, supersedes
from vxp.metrics import catalogue

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


def raised(records: Sequence[Record]) -> dict[str, Findings]:
    """The flags of every record by its name."""
    found = {record.name: Findings() for record in records}
    for entries in _tables(records):
        equal, together = _equal(entries), _together(entries)
        for i, j in combinations(range(len(entries)), 2):
            _copies(entries[i], entries[j], float(equal[i, j]), float(together[i, j]), found)
    for a, b in _kin(records):
        for first in a.samples:
            for second in b.samples:
                if _same(first, second):
                    _gains((a, first), (b, second), found)
    return found


def _same(first: Samples, second: Samples) -> bool:
    return all(first.document[k] == second.document[k] for k in ("task", "model")) and first.items == second.items


def _tables(records: Sequence[Record]) -> list[list[Entry]]:
    """Results on the same items of the same task and model."""
    tables: list[list[Entry]] = []
    for record in records:
        for samples in record.samples:
            home = next((t for t in tables if _same(t[0][1], samples)), None)
            tables.append([(record, samples)]) if home is None else home.append((record, samples))
    return tables


def _columns(entries: Sequence[Entry]) -> Iterator[np.ndarray]:
    """Of every score of items that can tell maps apart, the numbers [systems, items]; NaN where there is none."""
    known = catalogue()
    for signature in dict.fromkeys(s for _, samples in entries for s in samples.values):
        metric = known.get(signature.partition("@")[0])
        if any(samples.kept.get(signature) for _, samples in entries) or (metric is not None and metric.binary):
            continue
        nothing = np.full(len(entries[0][1].items), np.nan)
        yield np.stack([samples.values.get(signature, nothing) for _, samples in entries])


def _equal(entries: Sequence[Entry]) -> np.ndarray:
    """Of every two systems [systems, systems] the second largest share, over scores, of items that have the same number.

    0 and 1 do not count: maps of any kind meet at the ends of a range. One score may be prone to ties; two are not.
    """
    n = len(entries)
    largest = np.zeros((2, n, n))
    for numbers in _columns(entries):
        telling = np.isfinite(numbers) & (np.abs(numbers) > CLOSE) & (np.abs(numbers - 1) > CLOSE)
        for i in range(n):
            close = np.abs(numbers[i] - numbers) <= CLOSE * np.maximum(1, np.abs(numbers[i]))
            share = (close & telling & telling[i]).mean(axis=1)
            largest[1, i] = np.maximum(largest[1, i], np.minimum(largest[0, i], share))
            largest[0, i] = np.maximum(largest[0, i], share)
    second: np.ndarray = largest[1]
    return second


def _together(entries: Sequence[Entry]) -> np.ndarray:
    """Of every two systems [systems, systems] the median concordance over scores; 0 where no score has one."""
    n = len(entries)
    found = []
    for numbers in _columns(entries):
        known = np.isfinite(numbers)
        both = known.astype(float) @ known.T
        filled = np.where(known, numbers, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (filled @ known.T) / both  # [i, j]: of i, over the items that j has as well
            square = (filled**2) @ known.T / both
            cross = (filled @ filled.T) / both
            spread = square - mean**2
            concordance = 2 * (cross - mean * mean.T) / (spread + spread.T + (mean - mean.T) ** 2)
        found.append(np.where(both >= FEW, concordance, np.nan))
    stacked = np.stack(found) if found else np.full((1, n, n), np.nan)
    lacking = np.isnan(stacked).all(axis=0)
    stacked[:, lacking] = 0.0
    middle: np.ndarray = np.nanmedian(stacked, axis=0)
    return middle


def _copies(one: Entry, other: Entry, equal: float, together: float, found: Mapping[str, Findings]) -> None:
    (a, first), (b, second) = one, other
    if a is b or supersedes(a, b) or supersedes(b, a):
        return
    ids = first.document["result_id"], second.document["result_id"]
    if a.payloads[ids[0]] == b.payloads[ids[1]]:
        code, said = "VXP-F011", "the same maps, byte for byte"
    elif equal >= ALIKE:
        code, said = "VXP-F011", f"equal scores on {equal:.0%} of the items"
    elif together >= TOGETHER and a.submission["submitter"] != b.submission["submitter"]:
        code, said = "VXP-F030", f"scores that rise and fall together (median concordance {together:.4f})"
    else:
        return
    for own, theirs, mine in ((a, b, ids[0]), (b, a, ids[1])):
        found[own.name].add(code, mine, theirs.name, f"{said} as {theirs.submission['submission_id']} "
                            f"({theirs.submission['submitter']['name']})", "maps that no other submission has")


def _kin(records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Pairs of records of one submitter."""
    of_name: dict[str, list[Record]] = {}
    for record in records:
        of_name.setdefault(record.submission["submitter"]["name"].casefold(), []).append(record)
    for some in of_name.values():
        yield from combinations(some, 2)


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
        gain = after.values[signature] - before.values[signature]
        gain = gain[np.isfinite(gain) & (np.abs(gain) > CLOSE)] * (1 if score["better"] == "higher" else -1)
        differing, better = differing + len(gain), better + int((gain > 0).sum())
    if differing >= MANY and better >= BETTER * differing:
        found[new.name].add("VXP-F012", after.document["result_id"], old.name, f"better in {better} of {differing} scores per "
                            "item that differ", "some items that got worse")


__all__ = ["raised"]
