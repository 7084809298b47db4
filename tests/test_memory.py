"""The bytes of the rows of a model batch: a budget holds them, and no score depends on it."""

import json
from pathlib import Path

import pytest
import torch
import vxp
from bundle_tools import commanded
from torch import Tensor, nn
from vxp.core import VxpError
from vxp.engine import MEMORY, budget

CLIP = (3, 8, 12, 12)
ROW = 4 * 3 * 8 * 12 * 12
WANTED = ["st-deletion|steps:7", "st-deletion|steps:7|fill:blur", "frame-insertion", "max-sensitivity|samples:3"]


class Counted(nn.Module):
    """Keeps the bytes of every batch that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.seen = nn.Conv3d(3, 5, 3, padding=1), []

    def forward(self, clips: Tensor) -> Tensor:
        self.seen.append(clips.numel() * clips.element_size())
        return torch.tanh(self.conv(clips)).mean((2, 3, 4))


@pytest.fixture
def model() -> Counted:
    torch.manual_seed(0)
    return Counted()


def scored(model: nn.Module, memory: str | int | None, batch_size: int | None = None) -> vxp.Scores:
    generator = torch.Generator().manual_seed(1)
    clips, maps = torch.rand(3, *CLIP, generator=generator), torch.rand(3, *CLIP[1:], generator=generator)
    return vxp.score(model, clips, maps, metrics=WANTED, explainer="saliency", batch_size=batch_size, memory=memory)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_no_batch_of_rows_exceeds_the_budget_and_no_score_depends_on_it(model: Counted, rows: int) -> None:
    free = scored(model, None)
    largest = max(model.seen)
    model.seen.clear()
    found = scored(model, (rows + 1) * ROW - 1)
    assert max(model.seen) == rows * ROW < largest
    for name in free:
        assert found[name].status == free[name].status
        torch.testing.assert_close(found[name].values, free[name].values, atol=1e-6, rtol=0)


def test_the_smaller_of_batch_size_and_memory_counts(model: Counted) -> None:
    scored(model, 100 * ROW, batch_size=2)
    assert max(model.seen) == 2 * ROW
    model.seen.clear()
    scored(model, 4 * ROW, batch_size=100)
    assert max(model.seen) == 4 * ROW


def test_a_budget_that_holds_no_row_is_refused_with_what_one_takes(model: Counted) -> None:
    with pytest.raises(VxpError, match=r"memory .* is 10 kB, and one row \[3, 8, 12, 12\] takes 13.82 kB: give at least"):
        scored(model, "10kB")


@pytest.mark.parametrize(("said", "size"), [
    (None, MEMORY), ("2GB", 2 * 10**9), ("500 MB", 5 * 10**8), ("1.5GiB", 3 * 2**29), ("64k", None), ("64kib", 2**16),
    (123, 123), ("9", 9), ("1B", 1), ("0GB", None), ("-1MB", None), ("GB", None), ("2 GB each", None), ("1e9", None),
    ("0.1B", None)])
def test_budgets_as_they_are_said(said: str | int | None, size: int | None) -> None:
    if size is None:
        with pytest.raises(VxpError, match=r"memory: got .*, expected bytes with a unit, such as 2GB"):
            budget(said)
    else:
        assert budget(said) == size


def test_a_run_under_a_budget_states_the_batch_size_that_fits(tmp_path: Path) -> None:
    """And goes on with it, whatever memory there is then."""
    row = 4 * 3 * 64 * 64
    words = f"run shapes -e saliency -m deletion|steps:4 --limit 4 --threads 1 --device cpu --out {tmp_path / 'run'}"
    said = commanded(f"{words} --memory {row - 1}B", 2)
    assert "one row [3, 64, 64] takes 49.15 kB" in " ".join(said.split())
    commanded(f"{words} --batch-size 16 --memory {3 * row}B")
    stored = json.loads((tmp_path / "run/run.json").read_text())["settings"]
    assert stored["batch_size"] == 3
    assert "memory" not in stored
    results = {p: p.read_bytes() for p in (tmp_path / "run/results").glob("*/samples.parquet")}
    commanded(words)
    assert results == {p: p.read_bytes() for p in results}


def test_the_search_for_a_batch_size_stays_within_the_budget(tmp_path: Path) -> None:
    commanded(f"explain shapes -e saliency --limit 1 --threads 1 --device cpu --memory {5 * 4 * 3 * 64 * 64}B "
              f"--out {tmp_path / 'set'}")
    assert json.loads((tmp_path / "set/run.json").read_text())["settings"]["batch_size"] <= 5
