"""How many rows a model batch has."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn


def best_batch_size(
    model: nn.Module, inputs: Tensor, *, start: int = 8, limit: int = 1024, gain: float = 1.03
) -> int:
    """Double the batch size until throughput stops rising; out of memory ends the search, or halves the start.

    inputs [1, C, H, W] is repeated. A doubling that gains less than `gain` is not worth its memory.
    """
    best, rate, size = 1, 0.0, start
    with torch.no_grad():
        while 1 <= size <= max(limit, start):
            rows = inputs.repeat(size, *[1] * (inputs.ndim - 1))
            try:
                seconds = min(_seconds(model, rows) for _ in range(3))
            except torch.OutOfMemoryError:
                if rate:
                    break
                size //= 2
                continue
            if size / seconds < gain * rate:
                break
            best, rate, size = size, size / seconds, size * 2 if size >= start else limit + start + 1
    return best


def _seconds(model: nn.Module, rows: Tensor) -> float:
    start = time.perf_counter()
    model(rows)
    if rows.device.type == "cuda":
        torch.cuda.synchronize(rows.device)
    return time.perf_counter() - start


__all__ = ["best_batch_size"]
