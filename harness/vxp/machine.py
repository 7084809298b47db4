"""The process on this machine: its threads, what becomes of the memory that it frees, how values get to a GPU, and where it
keeps what it need not make again."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Parameters of glibc's mallopt (malloc.h)."""


def caches() -> Path:
    """The folder of the caches that all checkouts of a user share: $XDG_CACHE_HOME/vxp, by default ~/.cache/vxp.

    As the XDG specification asks, a relative path is ignored: what lies in the working folder may be a stranger's.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "vxp"


def kept(name: str, key: str) -> int | None:
    """The number that a cache has under a key; None where it has none, or cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((caches() / f"{name}.json").read_text())
        number = found.get(key) if isinstance(found, dict) else None
        return number if type(number) is int and number > 0 else None
    return None


def keep(name: str, key: str, number: int) -> None:
    """Keep a number for the next time. Where the cache cannot be written, nothing is lost but time."""
    path = caches() / f"{name}.json"
    with contextlib.suppress(OSError, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True)
        found = json.loads(path.read_text()) if path.exists() else {}
        temporary = path.with_name(f".{name}.{os.getpid()}")
        temporary.write_text(json.dumps({**found, key: number}, indent=1))
        os.replace(temporary, path)


def sent(values: Tensor, device: torch.device | str) -> Tensor:
    """The values on a device. To a GPU they go from pinned memory, and the process does not wait until they are there: what
    it asks of that GPU next runs after them."""
    where = torch.device(device)
    if where.type == "cpu":
        return values.to(where)
    if where.type == "cuda" and values.device.type == "cpu" and torch.cuda.is_available():
        values = values.pin_memory()
    return values.to(where, non_blocking=True)


@contextmanager
def computing(threads: int) -> Iterator[None]:
    """Compute with so many threads, and keep freed memory for the next tensors; the thread count is restored after."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    keep_freed_memory()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def give_back_memory() -> None:
    """Give freed memory back to the kernel. Who keeps it calls this now and then: what lives long comes to lie between what was
    freed, and the process grows by it."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # musl has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)


@cache
def keep_freed_memory() -> bool:
    """Have glibc keep what is freed until the process ends; False where there is no glibc.

    By default it gives every large tensor back to the kernel and asks for it again, whose pages are then cleared and mapped
    anew at every layer of every pass: half to three quarters of the time of a forward pass on a CPU (EfficientNet-Lite0,
    one thread: 38 ms an image, 10 ms with this). The most that is held at once stays the same.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # musl
        return False
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 * 2**20}
    return all([libc.mallopt(parameter, value) == 1 for parameter, value in settings.items()])
