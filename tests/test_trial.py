"""Explainers are tried on an item before anything long runs, and the trial changes nothing."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from vxp import explainers, models, tasks
from vxp.core import NotExplainedError, VxpError, explainer
from vxp.runs import commands, trial
from vxp.runs.commands import Order
from vxp.runs.context import Quiet

OWN = """
import torch
from vxp.core import explainer

def good(model, batch):
    return batch.raw().mean(1)

def channels(model, batch):
    return batch.inputs

def one(model, batch):
    return batch.raw().mean(1)[:1]

def typo(model, batch):
    return model.fetures(batch.inputs)

def only_first(model, batch):
    if batch.ids[0] == FIRST:
        raise RuntimeError("cannot")
    return batch.raw().mean(1)

@explainer("coarse", signed=True, resample="none")
def coarse(model, batch):
    return batch.raw().mean(1)[:, ::2, ::2]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    first = tasks.load("shapes").items[0].id
    (tmp_path / "own.py").write_text(OWN.replace("FIRST", repr(first)))
    return tmp_path / "own.py"


class Watched(Quiet):
    """Progress that keeps the titles of its stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, title: str, items: int, what: str = "item") -> None:
        self.stages.append(title)


def order(*names: str, metrics: tuple[str, ...] = ("entropy",)) -> Order:
    return Order("shapes", None, None, None, names, metrics, "cpu", limit=3, batch_size=4, threads=1)


@pytest.mark.parametrize("command", ["run", "explain", "score"])
@pytest.mark.parametrize(("name", "says"), [
    ("grad-cam|layer:features.99", "no layer 'features.99'"),
    ("score-cam|layer:head", "head"),
    ("own.py:channels", r"returned \(1, 3, 64, 64\), expected a tensor \[1, h, w\]"),
    ("own.py:one", r"returned \(1, 64, 64\), expected a tensor \[2, h, w\]"),
    ("own.py:coarse", r"'coarse': a map with resample 'none' has the grid \(32, 32\), expected the input grid \(64, 64\)"),
    ("own.py:typo", r"'typo' fails on item \S+ and on item \S+: AttributeError: .*fetures.* \(line 15 of .*own.py\)"),
])
def test_what_cannot_explain_is_refused_at_once(command: str, name: str, says: str, own: Path, tmp_path: Path) -> None:
    name, out, watched = name.replace("own.py", str(own)), tmp_path / "out", Watched()
    with pytest.raises(VxpError, match=says):
        if command == "run":
            commands.run_(order("saliency", name), out, watched)
        elif command == "explain":
            commands.explain(order(name), out, watched)
        else:
            given = commands.explain(order("saliency"), tmp_path / "set", Quiet())
            commands.score(order(name), given.parent, out, watched)
    assert all(stage.startswith("trying ") for stage in watched.stages), "nothing was explained or scored before"
    assert not out.exists()


def test_what_fails_on_the_first_item_only_goes_on(own: Path, tmp_path: Path) -> None:
    watched = Watched()
    *_, path = commands.run_(order(f"{own}:only_first"), tmp_path / "out", watched)
    assert '"failed:explainer-error": 1' in path.read_text().replace("\n", " ")
    assert watched.stages[0] == "trying only-first"


def test_what_a_run_has_is_not_tried_again(own: Path, tmp_path: Path) -> None:
    commands.run_(order(f"{own}:good"), tmp_path / "out", Quiet())
    watched = Watched()
    commands.run_(order(f"{own}:good", "saliency"), tmp_path / "out", watched)
    assert [stage for stage in watched.stages if stage.startswith("trying ")] == ["trying saliency"]


def test_a_class_without_a_map_is_no_fault() -> None:
    @explainer("of-one-class", signed=True, resample="none")
    def of_one_class(model: torch.nn.Module, batch: object) -> torch.Tensor:
        raise NotExplainedError("class-not-trained", "of another class")

    trial.tried(explainers.bind(of_one_class), tasks.load("shapes"), models.load("shapes-cnn"))


def test_a_trial_leaves_model_and_generators_as_they_were() -> None:
    @explainer("careless", signed=True, resample="none")
    def careless(model: torch.nn.Module, batch: object) -> torch.Tensor:
        model.train()
        with torch.no_grad():
            next(model.parameters()).zero_()
        torch.manual_seed(random.randint(0, 9))
        np.random.seed(1)
        return torch.rand(len(batch), 64, 64)  # type: ignore[arg-type]

    model = models.load("shapes-cnn")
    digest = models.state_dict_digest(model.module)
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1]
    with pytest.raises(VxpError, match=r"left changed: the model in train mode.*Nothing was started"):
        trial.tried(explainers.bind(careless), tasks.load("shapes"), model)
    assert models.state_dict_digest(model.module) == digest
    assert not model.module.training
    assert not model.module._forward_pre_hooks
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])


def test_an_installed_method_of_many_passes_is_tried_by_its_first() -> None:
    model = models.load("shapes-cnn")
    calls = 0

    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model.module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            return self.inner(x)

    counted = models.Model(model.id, Counting(), model.normalization, model.input_size, model.class_names, model.document)
    trial.tried(explainers.bind("rise"), tasks.load("shapes"), counted)
    assert calls <= trial.FEW + 1  # one for the targets
