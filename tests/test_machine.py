"""The process while it computes."""

import resource
import subprocess
import sys

import pytest
import torch
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


def test_it_may_be_asked_again() -> None:
    assert keep_freed_memory() == keep_freed_memory()
