"""What shows only beside other submissions: copies under another name, gains on every item, references unlike the others'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from vxp.audit import tolerances
from vxp.compare import Samples
from vxp.findings import Findings
from vxp.leaderboard.records import Record, supersedes
from vxp.metrics import catalogue

ALIKE = 0.5
"""Share of items whose scores are all equal from which two submissions are called copies."""
CLOSE = 1e-6
MANY = 20
"""Differing scores from which a gain on every one of them is no chance."""
BETTER = 0.99
JUDGED = ("faithfulness", "localisation", "alignment")
"""Families in which a real change makes some items worse."""


def raised(records: Sequence[Record]) -> dict[str, Findings]:
    """The flags of every record by its name."""
    found = {record.name: Findings() for record in records}
    for a, b in combinations(records, 2):
        for first, second in _both(a, b):
            _copies(a, b, first, second, found)
            _gains(a, b, first, second, found)
    _references(records, found)
    return found


def _both(a: Record, b: Record) -> Iterator[tuple[Samples, Samples]]:
    """Results of both on the same items."""
    for first in a.samples:
        for second in b.samples:
            if all(first.document[k] == second.document[k] for k in ("task", "model")) and first.items == second.items:
                yield first, second


def _copies(a: Record, b: Record, first: Samples, second: Samples, found: Mapping[str, Findings]) -> None:
    if supersedes(a, b) or supersedes(b, a):
        return
    ids = first.document["result_id"], second.document["result_id"]
    if a.payloads[ids[0]] == b.payloads[ids[1]]:
        said = "the same maps, byte for byte"
    else:
        share = alike(first, second)
        if share < ALIKE:
            return
        said = f"equal scores on {share:.0%} of the items"
    for one, other, own in ((a, b, ids[0]), (b, a, ids[1])):
        found[one.name].add("VXP-F011", own, other.name, f"{said} as {other.submission['submission_id']} "
                            f"({other.submission['submitter']['name']})", "maps that no other submission has")


def alike(first: Samples, second: Samples) -> float:
    """The share of items on which every score of both is equal; 0 without a score that can tell maps apart."""
    known = catalogue()
    shared = [s for s in first.values if s in second.values and not first.kept.get(s)
              and not (s.partition("@")[0] in known and known[s.partition("@")[0]].binary)]
    both = [(first.values[s], second.values[s]) for s in shared]
    both = [(x, y) for x, y in both if (np.isfinite(x) & np.isfinite(y)).any()]
    if not both:
        return 0.0
    equal = [np.isclose(x, y, rtol=CLOSE, atol=CLOSE, equal_nan=True) for x, y in both]
    return float(np.all(equal, axis=0).mean())


def _gains(a: Record, b: Record, first: Samples, second: Samples, found: Mapping[str, Findings]) -> None:
    """A submission that is better than the submitter's earlier one wherever the two differ."""
    if a.submission["submitter"]["name"].casefold() != b.submission["submitter"]["name"].casefold():
        return
    if first.name != second.name and not (supersedes(a, b) or supersedes(b, a)):
        return  # another method, which may well be better everywhere
    (old, before), (new, after) = sorted(((a, first), (b, second)), key=lambda pair: pair[0].submission["created"])
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


def _references(records: Sequence[Record], found: Mapping[str, Findings]) -> None:
    """The references are the same code on the same items for everybody, so their means are too."""
    stated: dict[tuple[str, str, str], list[tuple[Record, Samples, float]]] = {}
    for record in records:
        for samples in record.samples:
            key = f"{samples.document['task']} {samples.document['model']}"
            for reference in samples.document["references"]:
                for score in reference["scores"]:
                    if "mean" in score:
                        stated.setdefault((key, reference["explainer"], score["signature"]), []).append(
                            (record, samples, float(score["mean"])))
    for (_, name, signature), said in stated.items():
        middle = float(np.median([value for _, _, value in said]))
        for record, samples, value in said:
            limit = tolerances.of_score(signature, (_precision(samples), _precision(samples)))
            if abs(value - middle) > limit * max(1.0, abs(middle)):
                found[record.name].add("VXP-F014", samples.document["result_id"], f"{name}, {signature}", f"mean {value:.6g}",
                                       f"{middle:.6g}, the median of {len(said)} submissions")


def _precision(samples: Samples) -> str:
    settings: Mapping[str, Any] = samples.document["settings"]
    return str(settings["precision"])
