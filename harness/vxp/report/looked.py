"""What the looks of a sequential run found, for tables and pages (7.5)."""

from __future__ import annotations

from collections.abc import Sequence

from vxp_schemas import typed

from vxp import division, stats
from vxp.report.words import Context


def paired(document: typed.Result, other: str, signature: str) -> tuple[stats.Paired, float] | None:
    """The difference of a result and another one by its id, with the p that is adjusted over all comparisons of the run; None
    where it was not asked for."""
    found = next((f for f in _found(document) if (f["other"], f["signature"]) == (other, signature)), None)
    if found is None or "delta" not in found:
        return None
    ci = stats.Interval(document["inference"]["level"], "bets", found["lo"], found["hi"], 0, 0, found["clusters"])
    return stats.Paired(found["delta"], ci, found["p"], None, found["n"], found["clusters"], "bets"), found["p_adjusted"]


def words(document: typed.Result) -> str:
    """What was asked, when it was looked at, and how it ended; empty for other results."""
    looked = document.get("sequential")
    if looked is None:
        return ""
    looks = looked["looks"]
    at = ", ".join(str(look["clusters"]) for look in looks)
    left = looks[-1]["undecided"]
    what = "intervals are still too wide" if document["settings"].get("until", "").startswith("width") else \
        "pairs are not separated"
    end = "everything that was asked is decided" if left == 0 else f"{left} {what}"
    part = division.part(document.get("selection"), looks[-1]["items"])
    return f"until {document['settings'].get('until')}: looked at after {at} clusters; with {part} {end}"


def decisions(results: Sequence[tuple[str, typed.Result]]) -> list[Context]:
    """The comparisons of a run, each once, that a look decided; results with the names of their systems."""
    names = {document["result_id"]: name for name, document in results}
    rows, seen = [], set()
    for _, document in results:
        own = document["result_id"]
        for found in _found(document):
            pair = frozenset((own, found["other"])), found["signature"]
            if pair not in seen and "decided" in found and "delta" in found and found["other"] in names:
                seen.add(pair)
                rows.append({"a": names[own], "b": names[found["other"]], "signature": found["signature"],
                             "delta": f"{found['delta']:+.3f}", "interval": f"[{found['lo']:+.3f}, {found['hi']:+.3f}]",
                             "p": f"{found['p_adjusted']:.2g}", "decided": found["decided"]})
    return rows


def _found(document: typed.Result) -> Sequence[typed.ResultSequentialFound]:
    looked = document.get("sequential")
    return () if looked is None else looked["found"]
