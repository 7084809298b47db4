"""How many rows a model batch has: as many as a byte budget holds, and by default as many as are fastest."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import torch
from torch import Tensor

from vxp.core import VxpError

MEMORY = 2 * 10**9
"""Bytes that the rows of a model batch take at most, where nothing else is asked for."""
REPEATS = 3
"""Measurements of a batch size, of which the fastest counts."""
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def budget(said: str | int | None) -> int:
    """Bytes of `2GB`, `500 MB`, `1.5GiB` or a number of bytes; MEMORY of None. VxpError for anything else, and below 1 byte."""
    if said is None:
        return MEMORY
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]i?)?b)?", str(said).strip().lower())
    size = 0 if found is None else int(float(found[1]) * UNITS[found[2] or ""])
    if size < 1:
        raise VxpError(f"memory: got {said!r}, expected bytes with a unit, such as 2GB, 500MB or 1.5GiB")
    return size


def fitting(row: Tensor, memory: int) -> int:
    """How many rows like this one [C, *space] a budget of so many bytes holds; VxpError where it holds none."""
    size = row.numel() * row.element_size()
    if size > memory:
        raise VxpError(f"the memory for the rows of a model batch is {_said(memory)}, and one row {list(row.shape)} takes "
                       f"{_said(size)}: give at least that (--memory, memory=), or smaller items")
    return memory // size


def _said(size: int) -> str:
    unit, factor = next(((u, f) for u, f in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)) if size >= f), ("bytes", 1))
    return f"{size / factor:.4g} {unit}"


def best_batch_size(
    model: Callable[[Tensor], object], inputs: Tensor, *, start: int = 8, limit: int = 1024, gain: float = 1.03,
    rows: int | None = None,
) -> int:
    """Double the batch size until throughput stops rising; out of memory ends the search, or halves the start.

    inputs [1, C, H, W] is repeated. A doubling that gains less than `gain` is not worth its memory. rows: how many the search
    may run; what it has found by then is the answer, and the start where it could not measure that.
    """
    best, rate, size, spent = 1, 0.0, start, 0
    with torch.no_grad():
        while 1 <= size <= max(limit, start):
            if rows is not None and spent + REPEATS * size > rows:
                return best if rate else size
            repeated = inputs.repeat(size, *[1] * (inputs.ndim - 1))
            try:
                seconds = min(_seconds(model, repeated) for _ in range(REPEATS))
                spent += REPEATS * size
            except torch.OutOfMemoryError:
                if rate:
                    break
                size //= 2
                continue
            if size / seconds < gain * rate:
                break
            best, rate, size = size, size / seconds, size * 2 if size >= start else limit + start + 1
    return best


def _seconds(model: Callable[[Tensor], object], rows: Tensor) -> float:
    start = time.perf_counter()
    model(rows)
    if rows.device.type == "cuda":
        torch.cuda.synchronize(rows.device)
    return time.perf_counter() - start


__all__ = ["MEMORY", "best_batch_size", "budget", "fitting"]
