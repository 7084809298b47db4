"""How a device computes: where weights lie and what is compiled is declared, scores are compared with those of a CPU, and the
figures of a GPU go into their page."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main
from bundle_tools import commanded
from torch import Tensor, nn
from vxp import models
from vxp.bench import SIZES
from vxp.bench.devices import GROUP, apart, beside_cpu
from vxp.bench.suite import AGAINST
from vxp.bundles.cite import command
from vxp.cli import app
from vxp.core import Batch, Outcome, Request, Unchanged, VxpError
from vxp.engine import Engine
from vxp.engine.rows import Rows

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "docs"))

import _gpu as gpu  # noqa: E402


@pytest.mark.parametrize(("option", "lies"), [("", True), ("--no-channels-last", False)])
def test_a_run_declares_how_weights_lie(option: str, lies: bool, tmp_path: Path) -> None:
    commanded(f"explain shapes -e saliency --limit 1 --threads 1 --batch-size 2 --device cpu --out {tmp_path} {option}")
    settings = json.loads((tmp_path / "run.json").read_bytes())["settings"]
    assert (settings["channels_last"], settings["compile"]) == (lies, False)


def test_the_command_that_repeats_a_result_says_what_is_no_default() -> None:
    def words(device: str, **more: bool) -> list[str]:
        ref = {"id": "shapes", "version": 1, "digest": "sha256:" + "0" * 64}
        settings = {"device": device, "precision": "fp32", "batch_size": 2, "threads": 1, "limit": None, "seed": 0,
                    "deterministic": True, **more}
        said = command(task=ref, model=ref | {"id": "shapes-cnn"}, systems=[], metrics=["gini"], settings=settings)  # type: ignore
        return [word for word in said.split() if word in ("--compile", "--channels-last", "--no-channels-last")]

    assert words("cpu") == words("cpu", channels_last=True, compile=False) == words("cuda", channels_last=False) == []
    assert words("cpu", channels_last=False) == ["--no-channels-last"]
    assert words("cuda", channels_last=True, compile=True) == ["--compile", "--channels-last"]


def test_weights_lie_as_they_are_asked_to() -> None:
    for asked, lies in ((None, True), (True, True), (False, False)):
        assert models.lies_channels_last(models.load("shapes-cnn", channels_last=asked).module) is lies


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(x.flatten(1)))


def fetched(engine: Engine) -> Rows:
    batch = Batch(("a", "b"), torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1]))
    rows = Rows(engine, batch, {})
    rows.fetch([Request((Unchanged(),))], {})
    return rows


def behind(monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
    """Have torch.compile, which takes a minute with its own compiler, hand its graphs to this one."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))


def test_rows_go_through_what_was_compiled_and_vectors_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A representation is seen by a hook, which a compiled model does not call."""
    graphs: list[int] = []

    def backend(graph: Any, inputs: list[Tensor]) -> Any:
        def ran(*given: Tensor) -> Any:
            graphs.append(len(given))
            return graph.forward(*given)
        return ran

    behind(monkeypatch, backend)
    plain, made = fetched(Engine(Small())), fetched(Engine(Small(), compile=True))
    assert len(graphs) == 1
    assert torch.equal(made.read_of[Unchanged()], plain.read_of[Unchanged()])
    made.fetch([Request((Unchanged(),), readout="representation")], {})
    assert made.represented
    assert len(graphs) == 1


def test_a_model_that_does_not_compile_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(graph: Any, inputs: list[Tensor]) -> Any:
        raise RuntimeError("no compiler here")

    behind(monkeypatch, backend)
    with pytest.raises(VxpError, match=r"torch.compile does not compile this model .*no compiler here.*leave --compile"):
        fetched(Engine(Small(), compile=True))


def test_memory_that_lacks_while_compiling_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def backend(graph: Any, inputs: list[Tensor]) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise torch.OutOfMemoryError("pretend")
        return graph.forward

    behind(monkeypatch, backend)
    engine = Engine(Small(), 16, compile=True)
    assert torch.equal(fetched(engine).read_of[Unchanged()], fetched(Engine(Small())).read_of[Unchanged()])
    assert engine.batch_size == 8


def test_scores_in_another_precision_are_beside_their_tolerances() -> None:
    names = ("deletion", "pointing-game", "max-sensitivity")
    exact, coarse = ([line.value for line in beside_cpu("cpu", precision, names)] for precision in ("fp32", "bf16"))
    assert exact == [0, 0, 0]
    assert 0 < coarse[0] < 1
    assert coarse[1:] == [0, 0]


def test_scores_are_apart_by_the_items_that_have_one_in_both() -> None:
    one, other = (Outcome(torch.tensor(values), tuple(status), statistics=None) for values, status in (
        ([1.0, 20.0, float("nan")], ["ok", "ok", "failed:x"]), ([1.5, 25.0, 7.0], ["ok", "ok", "ok"])))
    assert apart(one, other) == 0.5
    assert apart(other, one) == pytest.approx(1 / 3)
    kept = [Outcome(torch.zeros(1), ("ok",), statistics=torch.tensor([[1.0, values]])) for values in (0.2, 0.5)]
    assert apart(*kept) == pytest.approx(0.3)


def test_the_figures_of_a_gpu_name_the_card_and_what_is_not_within_a_goal() -> None:
    lines: list[dict[str, Any]] = []
    for n, precision in enumerate(gpu.PRECISIONS, 1):
        lines += [{"group": SIZES, "what": precision, "value": 32 * n, "goal": ""},
                  {"group": f"{AGAINST}, {precision}", "what": "deletion@1|steps:28", "value": 1 + n / 100, "goal": "<= 1.10"},
                  {"group": f"{GROUP}, {precision}", "what": "metrics beyond", "value": n, "goal": "<= 0"}]
    page = gpu.written((ROOT / "docs" / "figures.md").read_text(), "Card 9000", "13.0", lines)
    said = page[page.index("<!-- gpu -->") : page.index("<!-- /gpu -->")]
    assert "ResNet-50 at 224 px, Card 9000, torch " in said
    assert "fp32 32, tf32 64, bf16 96" in said
    assert "| <code>deletion@1&#124;steps:28</code> | 1.01 | 1.02 | 1.03 | ≤ 1.10 |" in said
    assert "| metrics beyond | 1 | 2 | 3 | ≤ 0 |" in said
    assert gpu.written(page, "Card 9000", "13.0", lines) == page


def test_a_gpu_is_measured_by_commands_that_there_are(tmp_path: Path) -> None:
    assert all((ROOT / "tests" / name).is_file() for name in gpu.TESTS)
    words = gpu.bench(tmp_path / "f.json")
    assert models.load(words[words.index("--model") + 1]).document["classes"]["count"] == 1000
    command = typer.main.get_command(app).commands["bench"]  # type: ignore[attr-defined]
    context = command.make_context("bench", words[words.index("bench") + 1 :])
    assert context.params["precision"] == list(gpu.PRECISIONS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    before = (ROOT / "docs" / "figures.md").read_bytes()
    assert gpu.main() == 2
    assert "finds no GPU on this machine, so that nothing is tested, measured or written" in capsys.readouterr().err
    assert (ROOT / "docs" / "figures.md").read_bytes() == before
