"""Settings of a run that say how its device computes: where weights lie and what is compiled are declared, and change no score
by more than rounding."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle_tools import commanded
from torch import Tensor, nn
from vxp import models
from vxp.bundles.cite import command
from vxp.core import Batch, Request, Unchanged, VxpError
from vxp.engine import Engine
from vxp.engine.rows import Rows


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
