"""The process while it computes."""

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from vxp import machine
from vxp.machine import computing, keep_freed_memory


def test_the_thread_count_is_restored() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError), computing(1):
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == before


SCRIPT = """
import resource, sys, torch
from vxp.machine import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_freed_memory_is_not_given_back() -> None:
    """Twenty tensors of 64 MiB one after another: without it every page of each is asked for anew."""
    found = {mode: int(subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True).stdout)
             for mode in ("kept", "given")}
    pages = 20 * 2**26 // resource.getpagesize()
    assert found["given"] > pages / 1024  # huge pages count once
    assert found["kept"] < found["given"] / 4


@pytest.fixture
def libc(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """A C library that notes what is set, asked anew in this test."""
    asked: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, parameter: int, value: int) -> int:
            asked.append((parameter, value))
            return 1

    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: Library())
    monkeypatch.setattr(sys, "platform", "linux")
    keep_freed_memory.cache_clear()
    yield asked
    keep_freed_memory.cache_clear()


def test_all_three_parameters_are_set_and_only_once(libc: list[tuple[int, int]]) -> None:
    for _ in range(2):
        with computing(1):
            assert [parameter for parameter, _ in libc] == [machine.M_MMAP_MAX, machine.M_TRIM_THRESHOLD, machine.M_TOP_PAD]
    assert keep_freed_memory()
    assert dict(libc)[machine.M_MMAP_MAX] == 0
    assert dict(libc)[machine.M_TRIM_THRESHOLD] > 2**30


@pytest.mark.parametrize(("platform", "library"), [("darwin", None), ("linux", object()), ("linux", "refuses")])
def test_where_it_cannot_be_had_it_says_so(
    libc: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, platform: str, library: object
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    if library == "refuses":
        refusing = type("Refusing", (), {"mallopt": lambda self, parameter, value: int(parameter != machine.M_TRIM_THRESHOLD)})
        library = refusing()
    if library is not None:
        monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: library)
    assert not keep_freed_memory()
    assert libc == []
