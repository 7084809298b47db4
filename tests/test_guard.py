"""An explainer leaves the model as it was given, or its maps do not count; the next one sees the same model."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle_tools import made_run
from torch import nn
from vxp import explain
from vxp.core import ModelChangedError, explainer
from vxp.models import guard
from vxp.models.loading import shapes_cnn

SPOILS: dict[str, Callable[[nn.Module], object]] = {
    "train mode": lambda m: m.train(),
    "one module in train mode": lambda m: next(c for c in m.modules() if isinstance(c, nn.BatchNorm2d)).train(),
    "weights in place": lambda m: next(m.parameters()).data.mul_(1.01),
    "weights exchanged": lambda m: setattr(next(c for c in m.modules() if isinstance(c, nn.Conv2d)), "bias",
                                           nn.Parameter(torch.zeros(1))),
    "the data of a weight": lambda m: setattr(next(m.parameters()), "data", torch.zeros(1)),
    "buffers": lambda m: next(m.buffers()).add_(1),
    "a hook": lambda m: m.register_forward_hook(lambda *_: None),
    "a hook inside": lambda m: next(m.children()).register_forward_pre_hook(lambda *_: None),
    "a module": lambda m: m.add_module("spy", nn.Identity()),
    "the forward pass": lambda m: setattr(m, "forward", lambda x: x.mean((2, 3))),
    "the default dtype": lambda m: torch.set_default_dtype(torch.float64),
    "the gradient mode": lambda m: torch.set_grad_enabled(not torch.is_grad_enabled()),
    "the threads": lambda m: torch.set_num_threads(torch.get_num_threads() + 1),
}


@pytest.fixture
def model() -> nn.Module:
    return shapes_cnn()


def spoiling(how: Callable[[nn.Module], object]) -> Any:
    @explainer("spoiler", signed=True, family="gradient")
    def spoil(module: nn.Module, batch: Any) -> torch.Tensor:
        how(module)
        return batch.inputs.mean(1)
    return spoil


@pytest.mark.parametrize("how", SPOILS.values(), ids=SPOILS.keys())
def test_what_an_explainer_leaves_changed_is_named_and_undone(how: Callable[[nn.Module], object], model: nn.Module) -> None:
    inputs = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before, names = model(inputs), [name for name, _ in model.named_modules()]
    with pytest.raises(ModelChangedError, match="'spoiler' left changed: "):
        explain(model, inputs, spoiling(how), targets=[0, 1, 2])
    assert torch.equal(model(inputs), before)
    assert [name for name, _ in model.named_modules()] == names
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()


def test_what_changes_no_output_is_undone_without_a_word(model: nn.Module) -> None:
    """Gradients, requires_grad and global generators, as many packages leave them."""
    weight = next(model.parameters())
    gradient = weight.grad = torch.ones_like(weight)

    def common(module: nn.Module) -> None:
        module(torch.rand(1, 3, 64, 64)).sum().backward()
        weight.requires_grad_(False)
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)

    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index, union-attr]
    explain(model, torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), spoiling(common), targets=[0, 1])
    assert weight.grad is gradient
    assert torch.equal(gradient, torch.ones_like(weight))
    assert weight.requires_grad
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index, union-attr]
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_an_explainer_that_raises_is_undone_too(model: nn.Module) -> None:
    with pytest.raises(RuntimeError, match="no memory"), guard.kept(model):
        model.train()
        raise RuntimeError("no memory")
    assert not any(m.training for m in model.modules())


def test_weights_that_are_not_numbers_are_no_change(model: nn.Module) -> None:
    next(model.parameters()).data.fill_(float("nan"))
    with guard.kept(model) as changed:
        pass
    assert not changed


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text('''
from vxp import explainer

@explainer("trains", signed=True, family="gradient", passes=1)
def trains(model, batch):
    model.train()
    return batch.raw().mean(1)
''')
    return str(tmp_path / "own.py")


def test_a_run_is_the_same_beside_an_explainer_that_trains_the_model(own: str, tmp_path: Path) -> None:
    def scores(out: Path, *names: str) -> tuple[list[Any], list[Any]]:
        made_run(out, *names, limit=8, metrics=("deletion|steps:4",))
        documents = [json.loads(path.read_bytes()) for path in out.glob("results/*/result.json")]
        found = {document["explainer"]["id"]: document for document in documents}
        return found["saliency"]["scores"][0], found.get("trains", {"scores": [None]})["scores"][0]

    alone, _ = scores(tmp_path / "alone", "saliency")
    beside, spoiled = scores(tmp_path / "beside", f"{own}:trains", "saliency")
    assert beside == alone
    assert spoiled["statuses"] == {"failed:changed-model": 8}
