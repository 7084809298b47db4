"""Numbers, statuses, flags and metrics in words that a reader understands."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import vxp_schemas

from vxp import metrics

PERCENT = frozenset({"average-drop", "increase-in-confidence", "average-gain"})
"""Scores that the literature prints in percent; results hold them as fractions."""

FAMILIES: Mapping[str, str] = {
    "faithfulness": "Does the map show what the model uses? Positions are changed in the order of the map, and the model "
                    "is asked again.",
    "localisation": "Does the map lie on the object? It is compared with the truth, whether or not the model used the "
                    "object only.",
    "sanity": "Does the map depend on the model and on the class? A map that stays when they change explains nothing.",
    "robustness": "Does the map stay when the image hardly changes? A constant map is perfectly robust: read it beside "
                  "faithfulness.",
    "complexity": "How concise is the map? Concise is easier to read, not more right.",
}

FLAGS: Mapping[str, str] = {
    "few-clusters": "There are {clusters} independent {key}s, fewer than 20. Intervals are wide and no pair of explainers "
                    "is called separated: read the table as a description of these images, not as a ranking.",
    "limited": "Only the first {items} items of the task were run. These numbers are not the task's score and cannot be "
               "compared with a full run.",
}

MINUS = "−"


def number(value: float, decimals: int) -> str:
    """A number with fixed decimals and a true minus sign, so that a column lines up."""
    text = f"{value:.{decimals}f}"
    return text.replace("-", MINUS) if float(text) else f"{0:.{decimals}f}"


def decimals(values: Sequence[float]) -> int:
    """Decimals of a column: three significant digits at its largest value, at least one and at most six."""
    largest = max((abs(v) for v in values if isfinite(v)), default=0.0)
    if largest >= 100:
        return 1
    if largest >= 10:
        return 2
    if largest >= 0.05 or largest == 0:
        return 3
    return next((d for d in (4, 5) if largest >= 0.5 * 10.0 ** -(d - 2)), 6)


def status(code: str) -> str:
    """`not-run:budget` as `not run: budget`."""
    kind, _, reason = code.partition(":")
    return f"{kind.replace('-', ' ')}: {reason.replace('-', ' ')}" if reason else kind.replace("-", " ")


def status_meaning(code: str) -> str:
    return vxp_schemas.STATUSES.get(code, "")


def flag(name: str, facts: Mapping[str, Any]) -> str:
    return FLAGS[name].format(**facts) if name in FLAGS else "This flag has no explanation in this version of VXP."


def split(signature: str) -> tuple[str, int, dict[str, str]]:
    """A signature's metric id, version and parameters."""
    head, *parts = signature.split("|")
    id, _, version = head.partition("@")
    return id, int(version), {k: v for k, _, v in (part.partition(":") for part in parts)}


def title(id: str) -> str:
    return id.replace("-", " ").replace("road", "ROAD").replace("mprt", "MPRT").replace("srg", "SRG")


def metric_facts(signature: str) -> tuple[str, tuple[str, ...], str] | None:
    """Definition, caveats and source of a metric that is installed here in this version, else None."""
    id, version, _ = split(signature)
    known = metrics.catalogue().get(id)
    if known is None or known.version != version:
        return None
    text = (inspect.getdoc(known.plan) or "").split("\n\n")[0].replace("\n", " ")
    return text, known.caveats, known.source


def plural(n: int, thing: str) -> str:
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}es" if thing.endswith(("ss", "x")) else f"{n:,} {thing}s"


def bytes_(n: int | None) -> str:
    if n is None:
        return "not known"
    return f"{n / 2**30:.2f} GiB" if n >= 2**30 else f"{n / 2**20:.0f} MiB"
