"""Random draws that anybody can repeat: Philox4x32-10 keyed by what is drawn (rule 10). No global generator is touched.

A draw is addressed, not consumed: key = seed, item, purpose and stream; counter = (position, draw). So a value depends
on nothing but its name: not on the batch, the order of work, the device or the number of workers.
"""

from __future__ import annotations

import hashlib
import math

import torch
import vxp_schemas
from torch import Tensor

from vxp.core import VxpError

Key = tuple[int, int]
Device = torch.device | str

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
LOW = 0xFFFFFFFF
WORDS = 4
CHUNK = 32768
"""Positions per pass: the working set stays in a core's cache, which is most of the speed on a CPU."""


def key(seed: int, item: str, purpose: str, stream: str) -> Key:
    """The first 8 bytes of sha256 of the canonical JSON [seed, item, purpose, stream], as two little-endian words.

    purpose is the metric's id@version, or another name for draws that several metrics share.
    """
    digest = hashlib.sha256(vxp_schemas.canonical([seed, item, purpose, stream])).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def philox(key: Key, draw: int, positions: int, *, device: Device = "cpu") -> Tensor:
    """u32 values as int64 [4, positions]: the block of counter (position, draw, 0, 0) at every position."""
    out = torch.empty(4, positions, dtype=torch.int64, device=device)
    step = CHUNK if out.device.type == "cpu" else max(positions, 1)
    for start in range(0, positions, step):
        stop = min(start + step, positions)
        out[:, start:stop] = blocks(key, torch.arange(start, stop, device=device), draw & LOW, draw >> 32, 0)
    return out


def blocks(key: Key, c0: Tensor, c1: int, c2: int, c3: int) -> Tensor:
    """Philox4x32-10 (Salmon et al. 2011) of counters that differ in their first word c0 [N] int64; [4, N] int64."""
    x0 = c0.clone()
    x1, x2, x3 = (torch.full_like(x0, c) for c in (c1, c2, c3))
    high = torch.empty_like(x0)
    k0, k1 = key
    for _ in range(ROUNDS):
        # int64 products wrap modulo 2^64, which leaves bits 32 to 63 right once the shift's sign bits are masked;
        # x1 and x3 are only ever xored, so the products they become keep their high bits until the one mask here
        x0.mul_(MULTIPLIERS[0])
        x2.mul_(MULTIPLIERS[1])
        x1.bitwise_xor_(torch.bitwise_right_shift(x2, 32, out=high)).bitwise_xor_(k0).bitwise_and_(LOW)
        x3.bitwise_xor_(torch.bitwise_right_shift(x0, 32, out=high)).bitwise_xor_(k1).bitwise_and_(LOW)
        x0, x1, x2, x3 = x1, x2, x3, x0
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return torch.stack([x0, x1.bitwise_and_(LOW), x2, x3.bitwise_and_(LOW)])


def uniforms(key: Key, draw: int, positions: int, channels: int = 1, *, device: Device = "cpu") -> Tensor:
    """float32 [channels, positions] in [0, 1): (u32 >> 8)*2^-24; channel w takes word w.

    VxpError beyond four channels: a block has no more words.
    """
    _check_channels(channels)
    return (philox(key, draw, positions, device=device)[:channels] >> 8).to(torch.float32).mul_(2.0**-24)


def normals(key: Key, draw: int, positions: int, channels: int = 1, *, device: Device = "cpu") -> Tensor:
    """float32 [channels, positions] of the standard normal, Box-Muller in float64 on the word pairs (0, 1), (2, 3).

    u = 1 - first uniform (so that the logarithm exists), v = second: sqrt(-2 ln u)*cos(2 pi v), then *sin.
    VxpError beyond four channels: a block has no more words.
    """
    _check_channels(channels)
    pairs = (channels + 1) // 2
    u = (philox(key, draw, positions, device=device)[: 2 * pairs] >> 8).to(torch.float64).mul_(2.0**-24)
    radius = (1 - u[0::2]).log_().mul_(-2).sqrt_()
    angle = u[1::2] * (2 * math.pi)
    both = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1).flatten(0, 1)
    return both[:channels].to(torch.float32)


def subset(key: Key, draw: int, positions: int, n: int) -> Tensor:
    """int64 [n]: the places of the n smallest of P draws (word 0), ties by index, in ascending order of place.

    VxpError unless 0 <= n <= P.
    """
    if not 0 <= n <= positions:
        raise VxpError(f"a subset of {n} was asked for, expected 0 to {positions}, the number of positions")
    words = philox(key, draw, positions)[0]
    return words.argsort(stable=True)[:n].sort().values


def integers(key: Key, draw: int, high: int) -> int:
    """floor(u*high) with the uniform of position 0, word 0. VxpError unless high >= 1."""
    if high < 1:
        raise VxpError(f"high is {high}, expected at least 1: the draw is one of 0, ..., high - 1")
    return int(float(uniforms(key, draw, 1)[0, 0]) * high)


def _check_channels(channels: int) -> None:
    if not 1 <= channels <= WORDS:
        raise VxpError(f"{channels} channels were asked for, expected 1 to {WORDS}, the words of one block; "
                       "draw the others under another stream")
