"""Which items an audit computes again, and what a sample of that size finds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import lgamma

import numpy as np

CONFIDENCE = 0.95


def drawn(root_digest: str, nonce: str, set_id: str, n: int, k: int | None) -> list[int]:
    """k rows of n, without replacement, in ascending order; all of them where k is None or not below n.

    Those whose SHA-256 of root digest, nonce, set and row is smallest, so that nobody could know the draw before the
    bundle was sealed and the nonce was chosen, and everybody can repeat it afterwards (12.6.1).
    """
    if k is None or k >= n:
        return list(range(n))

    def lot(row: int) -> bytes:
        return hashlib.sha256(f"{root_digest}\n{nonce}\n{set_id}\n{row}".encode()).digest()

    return sorted(sorted(range(n), key=lot)[:k])


def extremes(values: Sequence[np.ndarray], each: int = 1) -> list[int]:
    """The rows with the highest and the lowest numbers of every score, which move a mean most."""
    rows: set[int] = set()
    for numbers in values:
        known = np.flatnonzero(np.isfinite(numbers))
        order = known[np.argsort(numbers[known], kind="stable")]
        rows |= {int(i) for i in [*order[:each], *order[len(order) - each :]]}
    return sorted(rows)


def found_with(n: int, changed: int, k: int) -> float:
    """The probability that k rows of n, drawn without replacement, hold at least one of `changed`."""
    if changed <= 0 or k <= 0:
        return 0.0
    if changed + k > n:
        return 1.0

    def log_choose(a: int, b: int) -> float:
        return lgamma(a + 1) - lgamma(b + 1) - lgamma(a - b + 1)

    return float(1 - np.exp(log_choose(n - changed, k) - log_choose(n, k)))


def smallest_share(n: int, k: int, confidence: float = CONFIDENCE) -> float:
    """The smallest share of changed rows that a sample finds with this probability."""
    low, high = 1, n
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if found_with(n, middle, k) >= confidence else (middle + 1, high)
    return low / n
