"""Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") and VXP's draws.

Key: the first 8 bytes of sha256 of the canonical JSON of [seed, item, purpose, stream], two little-endian words.
Counter: (position, draw, 0, 0). Four words per position.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

MULTIPLIER_0, MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85
WORD = 0xFFFFFFFF


def block(counter: Sequence[Any], key: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    """The four 32-bit words of a counter of four words: Python's integers, or uint64 arrays of many counters."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product_0, product_1 = MULTIPLIER_0 * c0, MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (product_1 >> 32) ^ c1 ^ k0, product_1 & WORD, (product_0 >> 32) ^ c3 ^ k1, product_0 & WORD
        k0, k1 = (k0 + WEYL_0) & WORD, (k1 + WEYL_1) & WORD
    return c0, c1, c2, c3


def key(seed: int, item: str, purpose: str, stream: str) -> tuple[int, int]:
    """Two key words of what a draw is for."""
    text = json.dumps([seed, item, purpose, stream], separators=(",", ":"), ensure_ascii=False)
    first = hashlib.sha256(text.encode("utf-8")).digest()[:8]
    return int.from_bytes(first[:4], "little"), int.from_bytes(first[4:], "little")


def words(key: tuple[int, int], draw: int, positions: int) -> np.ndarray:
    """The words of many positions, uint64 [4, positions]."""
    place = np.arange(positions, dtype=np.uint64)
    return np.stack(block((place, np.full_like(place, draw), np.zeros_like(place), np.zeros_like(place)), key))


def uniforms(key: tuple[int, int], draw: int, positions: int) -> np.ndarray:
    """float64 [4, positions] in [0, 1), a multiple of 2^-24."""
    return (words(key, draw, positions) >> np.uint64(8)).astype(np.float64) * 2.0**-24


def normals(key: tuple[int, int], draw: int, positions: int) -> np.ndarray:
    """float64 [4, positions] by Box-Muller: (w0, w1) give channels 0 and 1, (w2, w3) give 2 and 3."""
    u = uniforms(key, draw, positions)
    out = np.empty((4, positions))
    for pair in (0, 2):
        radius, angle = np.sqrt(-2.0 * np.log(1.0 - u[pair])), 2.0 * np.pi * u[pair + 1]
        out[pair], out[pair + 1] = radius * np.cos(angle), radius * np.sin(angle)
    return out
