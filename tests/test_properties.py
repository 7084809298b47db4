"""One property test over the whole catalogue: how items are batched, ordered or computed does not change a score.

A new metric is covered by adding its file; if it needs a truth that is not made here, the test says so.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
import torch
import vxp
from torch import Tensor
from vxp.core import VxpError
from vxp.kinds import HEATMAP2D
from vxp.metrics import catalogue, of_kind

if TYPE_CHECKING:
    from conftest import Toy

QUICK: dict[str, Any] = {"steps": 16, "samples": 3}
SURE: dict[str, dict[str, Any]] = {"pic-aic": {"rows": "filled"}, "pic-sic": {"least": 0.0}}
"""The authors' curves refuse images of which the model is unsure, as the toy is of all of these: another class, or below .8."""
TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Items:
    """Five items: three sound ones, one with a constant map and no truth, one with a map that is not finite."""

    inputs: Tensor
    attributions: Tensor
    targets: Tensor
    ids: tuple[str, ...]
    truth: dict[str, Tensor] = field(default_factory=dict)

    def select(self, index: list[int]) -> Items:
        return Items(self.inputs[index], self.attributions[index], self.targets[index],
                     tuple(self.ids[i] for i in index), {key: value[index] for key, value in self.truth.items()})


@pytest.fixture(scope="module")
def items(toy: Toy) -> Items:
    generator = torch.Generator().manual_seed(21)
    inputs = torch.cat([toy.inputs, torch.randn(2, 3, 24, 32, generator=generator)])
    constant, broken = torch.full((1, 6, 8), 0.25), torch.randn(1, 6, 8, generator=generator)
    attributions = torch.cat([toy.maps["native"], constant, broken])
    attributions[4, 2, 3] = float("nan")
    truth = {key: torch.cat([value, torch.zeros_like(value[:1]), value[:1] == 0 if value.dtype == torch.bool else value[:1]])
             for key, value in toy.truth.items()}
    ids = ("cat", "dog", "\u00e9l\u00e9phant", "a/b", "4")
    return Items(inputs, attributions, torch.tensor([0, 1, 2, 3, 4]), ids, truth)


def score(toy: Toy, items: Items, names: list[str], *, batch_size: int | None = 2, seed: int = 7) -> vxp.Scores:
    missing = [n for n in names if catalogue()[n].truth and not any(key in items.truth for key in catalogue()[n].truth)]
    if missing:
        raise VxpError(f"the property test makes no truth for {missing}: add it to the fixture `items`")
    quick = [(name, {k: v for k, v in QUICK.items() if k in catalogue()[name].parameters} | SURE.get(name, {}))
             for name in names]
    return vxp.score(toy.model, items.inputs, items.attributions, items.targets, items.truth, quick, toy.explainer,
                     toy.normalization, seed, batch_size, ids=items.ids, relabelled=toy.relabelled,
                     objects=toy.pieces)


def same(found: vxp.Score, wanted: vxp.Score, index: list[int], *, tolerance: float | None = None) -> None:
    """Item i of `found` is item index[i] of `wanted`: the same status, and the same number."""
    oracle = import_module(f"oracles.{found.signature.partition('@')[0].replace('-', '_')}")
    # what a metric's oracle says its digits are worth
    tolerance = max(getattr(oracle, "TOLERANCE", 0), TOLERANCE) if tolerance is None else tolerance
    assert found.signature == wanted.signature
    assert found.status == tuple(wanted.status[i] for i in index)
    assert found.values.tolist() == pytest.approx(wanted.values[index].tolist(), rel=tolerance, abs=tolerance, nan_ok=True)
    if wanted.statistics is not None:  # a metric of the set: what it keeps of each item
        assert found.statistics is not None
        kept = wanted.statistics[index].double()
        assert torch.allclose(found.statistics.double(), kept, rtol=0, atol=tolerance, equal_nan=True)


Scored = Callable[[str], vxp.Score]


@pytest.fixture(scope="module")
def wanted(toy: Toy, items: Items) -> Scored:
    """The score of a metric on all five items, two rows at a time, which the others are compared with."""
    return cache(lambda name: score(toy, items, [name])[name])


everything = pytest.mark.parametrize("name", of_kind(HEATMAP2D.id))


@everything
def test_statuses_are_as_the_items_are_made(wanted: Scored, name: str) -> None:
    found = wanted(name).status
    # the toy's probability need not rise above that of the image without information
    assert found[:3] == ("ok",) * 3 or (name == "pic-sic" and set(found[:3]) == {"ok", "undefined:no-rise"})
    assert found[4] == "undefined:non-finite-map"


@everything
def test_batch_size_does_not_change_a_score(toy: Toy, items: Items, wanted: Scored, name: str) -> None:
    for size in (1, 3, 5000):
        same(score(toy, items, [name], batch_size=size)[name], wanted(name), [0, 1, 2, 3, 4])


@everything
def test_neighbours_do_not_change_a_score(toy: Toy, items: Items, wanted: Scored, name: str) -> None:
    for i in range(5):
        same(score(toy, items.select([i]), [name])[name], wanted(name), [i])


@everything
def test_order_does_not_change_a_score(toy: Toy, items: Items, wanted: Scored, name: str) -> None:
    for order in ([4, 3, 2, 1, 0], [2, 0, 4]):
        same(score(toy, items.select(order), [name])[name], wanted(name), order)


@everything
def test_the_same_seed_gives_the_same_score(toy: Toy, items: Items, wanted: Scored, name: str) -> None:
    torch.manual_seed(1)
    same(score(toy, items, [name])[name], wanted(name), [0, 1, 2, 3, 4], tolerance=0.0)


@pytest.fixture(scope="module")
def together(toy: Toy, items: Items) -> vxp.Scores:
    """All metrics in one call, which share their rows."""
    return score(toy, items, list(of_kind(HEATMAP2D.id)))


@everything
def test_company_does_not_change_a_score(wanted: Scored, together: vxp.Scores, name: str) -> None:
    same(together[name], wanted(name), [0, 1, 2, 3, 4])


@pytest.fixture(scope="module")
def threaded(toy: Toy, items: Items) -> vxp.Scores:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        # few and large operations: threads that share a core wait for each other in every one
        return score(toy, items.select([0, 1]), list(of_kind(HEATMAP2D.id)), batch_size=5000)
    finally:
        torch.set_num_threads(before)


@everything
def test_threads_do_not_change_a_score(wanted: Scored, threaded: vxp.Scores, name: str) -> None:
    same(threaded[name], wanted(name), [0, 1])


@pytest.fixture(scope="module")
def on_gpu(toy: Toy, items: Items) -> vxp.Scores:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    moved = Items(items.inputs.cuda(), items.attributions.cuda(), items.targets.cuda(), items.ids,
                  {key: value.cuda() for key, value in items.truth.items()})
    return score(replace(toy, model=deepcopy(toy.model).cuda()), moved, list(of_kind(HEATMAP2D.id)))


@everything
def test_the_device_does_not_change_a_score(wanted: Scored, on_gpu: vxp.Scores, name: str) -> None:
    # another order of summation in the model moves its outputs by about 1e-6, and a bin of a histogram by a count
    oracle = import_module(f"oracles.{name.replace('-', '_')}")
    same(on_gpu[name], wanted(name), [0, 1, 2, 3, 4],
         tolerance=1e-2 if name == "efficient-mprt" else max(1e-4, 10 * getattr(oracle, "TOLERANCE", 0)))


@pytest.mark.parametrize("name", ["road-morf", "road-lerf", "max-sensitivity", "efficient-mprt"])
def test_another_seed_draws_anew(toy: Toy, items: Items, name: str) -> None:
    one, two = (score(toy, items, [name], seed=seed)[name].values[:3].tolist() for seed in (1, 2))
    assert all(a != b for a, b in zip(one, two, strict=True))


@everything
def test_scores_stay_in_their_declared_range(wanted: Scored, name: str) -> None:
    low, high = catalogue()[name].range
    numbers = wanted(name).values.tolist() if catalogue()[name].level == "sample" else [wanted(name).mean]
    values = [v for v in numbers if v == v]
    assert values or name == "sufficiency"  # at its default no two of these maps are alike
    assert low is None or all(value >= low for value in values)
    assert high is None or all(value <= high for value in values)
