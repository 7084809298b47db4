"""Random draws that anybody can repeat: Philox4x32-10 keyed by what is drawn (clause [random]). No global generator is touched.

A draw is addressed, not consumed: key = seed, item, purpose and stream; counter = (position, draw). So a value depends
on nothing but its name: not on the batch, the order of work, the device or the number of workers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
import vxp_schemas
from numpy.typing import NDArray
from torch import Tensor

from vxp.errors import VxpError
from vxp.machine import sent

Key = tuple[int, int]
Device = torch.device | str
Array = TypeVar("Array", Tensor, NDArray[np.int64])

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
LOW = 0xFFFFFFFF
WORDS = 4
CHUNK = 16384
"""Positions per pass: the working set stays in a core's cache, which is most of the speed on a CPU."""
MANY = 64
"""Draws that are made at once, where many are: what a GPU starts for one it starts for all of them."""


def key(seed: int, item: str, purpose: str, stream: str) -> Key:
    """The first 8 bytes of sha256 of the canonical JSON [seed, item, purpose, stream], as two little-endian words.

    purpose is the metric's id@version, or another name for draws that several metrics share.
    """
    digest = hashlib.sha256(vxp_schemas.canonical([seed, item, purpose, stream])).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def philox(key: Key, draw: int, positions: int, *, device: Device = "cpu") -> Tensor:
    """u32 values as int64 [4, positions]: the block of counter (position, draw, 0, 0) at every position."""
    return _written(torch.empty(WORDS, positions, dtype=torch.int64, device=device), key, draw, shift=0)


def _written(out: Tensor, key: Key, draw: int, *, shift: int, at: Tensor | None = None) -> Tensor:
    """The first words of the blocks, less their `shift` lowest bits, converted to the dtype of out [words, positions]; of the
    positions `at` int64 [positions] only, if they are given."""
    words, positions = out.shape
    on_cpu = out.device.type == "cpu"
    step = CHUNK if on_cpu else max(positions, 1)
    for start in range(0, positions, step):
        stop = min(start + step, positions)
        # NumPy's integer loops are twice as fast as torch's on a CPU; the code is the same
        counters: Any
        if at is not None:
            counters = at[start:stop].numpy() if on_cpu else at[start:stop]
        else:
            counters = np.arange(start, stop) if on_cpu else torch.arange(start, stop, device=out.device)
        target: Any = out.numpy() if on_cpu else out
        for word, block in enumerate(blocks(key, counters, draw & LOW, draw >> 32, 0)[:words]):
            target[word, start:stop] = block >> shift if shift else block
    return out


def blocks(key: tuple[Any, Any], c0: Array, c1: Any, c2: Any, c3: int) -> tuple[Array, Array, Array, Array]:
    """Philox4x32-10 (Salmon et al. 2011) of counters that differ in their first word c0 [N] int64: its four words [N].

    c0 is a tensor or a NumPy array. Of many keys it is a tensor [D, N], and the words of the keys, c1 and c2 are numbers or
    tensors [D, 1].
    """
    x0 = c0 * 1
    x1, x2, x3 = (c0 * 0 + c for c in (c1, c2, c3))
    k0, k1 = key
    for _ in range(ROUNDS):
        # int64 products wrap modulo 2^64, which leaves bits 32 to 63 right once the shift's sign bits are masked;
        # x1 and x3 are only ever xored, so the products they become keep their high bits until the one mask here
        x0 *= MULTIPLIERS[0]
        x2 *= MULTIPLIERS[1]
        x1 ^= x2 >> 32
        x1 ^= k0
        x1 &= LOW
        x3 ^= x0 >> 32
        x3 ^= k1
        x3 &= LOW
        x0, x1, x2, x3 = x1, x2, x3, x0
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return x0, x1 & LOW, x2, x3 & LOW


def uniforms(key: Key, draw: int, positions: int, channels: int = 1, *, device: Device = "cpu") -> Tensor:
    """float32 [channels, positions] in [0, 1): (u32 >> 8)*2^-24; channel w takes word w.

    VxpError beyond four channels: a block has no more words.
    """
    _check_channels(channels)
    out = torch.empty(channels, positions, dtype=torch.float32, device=device)
    return _written(out, key, draw, shift=8).mul_(2.0**-24)


def many_uniforms(
    keys: Sequence[Key], draws: Sequence[int], positions: int, channels: int = 1, *, device: Device = "cpu"
) -> Tensor:
    """float32 [D, channels, positions]: the `uniforms` of every key and draw, on a GPU in few steps."""
    _check_channels(channels)
    out = torch.empty(len(keys), channels, positions, dtype=torch.float32, device=device)
    for start in range(0, len(keys), MANY):
        some = slice(start, start + MANY)
        for channel, words in enumerate(_many_blocks(keys[some], draws[some], positions, device)[:channels]):
            out[some, channel] = words >> 8
    return out.mul_(2.0**-24)


def _many_blocks(
    keys: Sequence[Key], draws: Sequence[int], positions: int, device: Device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four words [D, positions] of every key and draw."""
    of = sent(torch.tensor([(*key, draw & LOW, draw >> 32) for key, draw in zip(keys, draws, strict=True)]), device)
    k0, k1, c1, c2 = of[:, :, None].unbind(1)
    return blocks((k0, k1), torch.arange(positions, device=of.device).repeat(len(keys), 1), c1, c2, 0)


def normals(
    key: Key, draw: int, positions: int | Tensor, channels: int = 1, *, device: Device = "cpu"
) -> Tensor:
    """float32 [channels, positions] of the standard normal, Box-Muller in float64 on the word pairs (0, 1), (2, 3).

    u = 1 - first uniform (so that the logarithm exists), v = second: sqrt(-2 ln u)*cos(2 pi v), then *sin. Of all positions up
    to a number, or of these positions, int64 [positions] on the device.
    VxpError beyond four channels: a block has no more words.
    """
    _check_channels(channels)
    pairs = (channels + 1) // 2
    at = positions if isinstance(positions, Tensor) else None
    number = len(positions) if isinstance(positions, Tensor) else positions
    u = torch.empty(2 * pairs, number, dtype=torch.float64, device=device)
    _written(u, key, draw, shift=8, at=at).mul_(2.0**-24)
    radius = (1 - u[0::2]).log_().mul_(-2).sqrt_()
    angle = u[1::2] * (2 * math.pi)
    both = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1).flatten(0, 1)
    return both[:channels].to(torch.float32)


@lru_cache(maxsize=512)
def subset(key: Key, draw: int, positions: int, n: int, *, device: Device = "cpu") -> Tensor:
    """bool [P]: the places of the n smallest of P draws, ties by index; not to be written to, as it is kept.

    Draw d takes word d mod 4 of counter floor(d/4), so that one block serves four draws. VxpError unless 0 <= n <= P.
    """
    if not 0 <= n <= positions:
        raise VxpError(f"a subset of {n} was asked for, expected 0 to {positions}, the number of positions")
    if n in (0, positions):
        return torch.full((positions,), n > 0, device=device)
    words = _four(key, draw // WORDS, positions, device)[draw % WORDS]
    if isinstance(words, Tensor):
        return _smallest(words[None], n)[0]
    last = np.partition(words, n - 1)[n - 1]
    chosen = words < last
    chosen[np.flatnonzero(words == last)[: n - np.count_nonzero(chosen)]] = True
    return torch.from_numpy(chosen)


def many_subsets(
    keys: Sequence[Key], draws: Sequence[int], sizes: Sequence[int], positions: int, *, device: Device = "cpu"
) -> Tensor:
    """bool [D, P]: the `subset` of every key, draw and size, on a GPU in few steps."""
    out = torch.empty(len(keys), positions, dtype=torch.bool, device=device)
    for start in range(0, len(keys), MANY):
        some = slice(start, start + MANY)
        words = torch.stack(_many_blocks(keys[some], [draw // WORDS for draw in draws[some]], positions, device), dim=1)
        chosen = torch.tensor([(d % WORDS, n) for d, n in zip(draws[some], sizes[some], strict=True)])
        word, size = sent(chosen, device)[:, :, None].unbind(1)
        out[some] = _smallest(words.gather(1, word[:, :, None].expand(-1, 1, positions))[:, 0], size)
    return out


def _smallest(words: Tensor, sizes: Tensor | int) -> Tensor:
    """bool [D, P]: the places of the smallest of words [D, P], so many of each row, ties by index. By a sort, for which a GPU
    need not be waited for."""
    first = (torch.arange(words.shape[1], device=words.device) < sizes).expand_as(words)
    return torch.zeros_like(words, dtype=torch.bool).scatter_(1, words.argsort(dim=1, stable=True), first)


@lru_cache(maxsize=16)
def _four(key: Key, block: int, positions: int, device: Device) -> Any:
    """The four words of every position; on a CPU as uint32, of which NumPy selects the n-th in no time."""
    words = philox(key, block, positions, device=device)
    return words.numpy().astype(np.uint32) if words.device.type == "cpu" else words


def forget() -> None:
    """Drop the subsets that are kept, so that a measurement pays for its draws."""
    subset.cache_clear()
    _four.cache_clear()


def integers(key: Key, draw: int, high: int) -> int:
    """floor(u*high) with the uniform of position 0, word 0. VxpError unless high >= 1."""
    if high < 1:
        raise VxpError(f"high is {high}, expected at least 1: the draw is one of 0, ..., high - 1")
    return int(float(uniforms(key, draw, 1)[0, 0]) * high)


def _check_channels(channels: int) -> None:
    if not 1 <= channels <= WORDS:
        raise VxpError(f"inputs have {channels} channels, expected 1 to {WORDS}: the standard draws noise for at most {WORDS} "
                       "values per position. Leave out the metrics and fills that draw (`noise`, `nli`, max-sensitivity and "
                       "its like)")
