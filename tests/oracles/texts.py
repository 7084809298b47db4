"""Scores of explanations in words: one item, plain loops, by the definitions.

A claim is a mapping with attribute, value and role. `causes` are pairs of attribute and value, or attributes alone; of pairs
the values are left out where attributes are compared.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from oracles import UndefinedError

Named = list[tuple[str, ...]]


def overlap(a: str, b: str, vectors: Mapping[str, Sequence[float]]) -> float:
    """The cosine of the vectors of two texts."""
    if unicodedata.normalize("NFC", a).strip() == "" or unicodedata.normalize("NFC", b).strip() == "":
        raise UndefinedError("empty-text")
    product = of_a = of_b = 0.0
    for x, y in zip(vectors[a], vectors[b], strict=True):
        product += x * y
        of_a += x * x
        of_b += y * y
    return product / (math.sqrt(of_a) * math.sqrt(of_b))


def once(named: Iterable[Sequence[str]], match: str) -> Named:
    """Each thing once, of its first part alone where attributes are compared."""
    found: Named = []
    for parts in named:
        one = tuple(unicodedata.normalize("NFC", part) for part in parts[: 2 if match == "pair" else 1])
        if one not in found:
            found.append(one)
    return found


def claimed(claims: Iterable[Mapping[str, str]], match: str) -> Named:
    return once([(c["attribute"], c["value"]) for c in claims if c["role"] == "cause"], match)


def causal(causes: Iterable[str | tuple[str, str]], match: str) -> Named:
    return once([(c,) if isinstance(c, str) else c for c in causes], match)


def precision(claims: Iterable[Mapping[str, str]], causes: Iterable[str | tuple[str, str]], *, match: str) -> float:
    """How many of what is claimed are causes."""
    named, true = claimed(claims, match), causal(causes, match)
    if not named:
        raise UndefinedError("no-claim")
    right = 0
    for one in named:
        right += one in true
    return right / len(named)


def recall(claims: Iterable[Mapping[str, str]], causes: Iterable[str | tuple[str, str]], *, match: str) -> float:
    """How many of the causes are claimed."""
    named, true = claimed(claims, match), causal(causes, match)
    if not true:
        raise UndefinedError("no-cause")
    right = 0
    for one in true:
        right += one in named
    return right / len(true)
