"""Scores of concepts: metrics with known answers, explainers of a model that is known, one's own examples, and a run to its
end."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vxp
from bundle_tools import STATEMENT, commanded
from PIL import Image
from scipy.stats import ttest_ind
from sklearn.linear_model import Ridge
from torch import Tensor, nn
from vxp import datasets, models, tasks
from vxp.core import Bank, Batch, VxpError
from vxp.explainers import bind, catalogue, references
from vxp.metrics import bind as bound_metric
from vxp.metrics._concepts import cells
from vxp_explainers import _concepts, tcav

NAMES = ("first", "second", "third")
SIDE, N = 6, 12
EXPLAINERS = ("cav-derivative", "tcav|negatives:4|examples:8", "cav-accuracy", "cace", "random-concepts")


class Means(nn.Module):
    """Channels through a layer that leaves them as they are, then logits of their means: (2a, -2a, b)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 3, bias=False)
        self.layer.weight.data = torch.eye(3)[:, :, None, None]
        self.head.weight.data = torch.tensor([[2.0, 0, 0], [-2.0, 0, 0], [0, 1.0, 0]])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean((2, 3)))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def bank(paired: bool = True) -> Bank:
    """The first concept raises the first channel by 1, the second the second, the third the third, which the model does not
    read."""
    off = noise(3, N, 3, SIDE, SIDE)
    on = (off if paired else noise(3, N, 3, SIDE, SIDE, seed=1)).clone()
    for k in range(3):
        on[k, :, k] += 1
    return Bank(NAMES, on, off, paired)


def batch(n: int = 6) -> Batch:
    return Batch(tuple(f"item-{i}" for i in range(n)), noise(n, 3, SIDE, SIDE, seed=2), torch.arange(n) % 3, bank=bank())


def explained(name: str, items: Batch, model: nn.Module | None = None) -> Tensor:
    return bind(name)(model or Means().eval(), items)


# --------------------------------------------------------------------------------------------------------------- metrics


def statistics(targets: Sequence[int], scores: Sequence[Sequence[float]], effects: Sequence[Any], tau: float = 1.0,
               tau0: float = 0.25) -> Tensor:
    """Of items with two concepts and two classes; effects [N][K][C]."""
    rows = [[t, 2.0, tau, tau0, *s, *e[0], *e[1]] for t, s, e in zip(targets, scores, effects, strict=True)]
    return torch.tensor(rows, dtype=torch.float64)


def number(metric: str, found: Tensor, counts: Sequence[float] | None = None) -> float:
    times = torch.tensor([counts or [1.0] * len(found)], dtype=torch.float64)
    reduce = bound_metric(metric).metric.reduce
    assert reduce is not None
    return float(reduce(found, torch.arange(len(found)), times)[0])


EFFECTS = [[[4.0, -4.0], [0.1, -0.1]]] * 2
"""The first concept matters to both classes, the second to none."""


def test_the_metrics_of_cells_that_are_known() -> None:
    right = statistics([0, 1], [[2.0, 0.0], [-1.0, 0.0]], EFFECTS)
    assert [number(m, right) for m in ("concept-relevance-auc", "concept-sign", "concept-false-positive")] == [1.0, 1.0, 0.0]
    wrong = statistics([0, 1], [[0.0, 1.0], [1.0, -2.0]], EFFECTS)
    assert [number(m, wrong) for m in ("concept-relevance-auc", "concept-sign", "concept-false-positive")] == [
        (0 + 0 + 0.5 + 0) / 4, 0.0, 1.0]


def test_the_effect_is_a_mean_over_all_items_and_the_score_over_those_of_the_class() -> None:
    effects = [[[4.0, -4.0], [0.0, 0.0]], [[-1.0, 1.0], [0.0, 0.0]]]
    found = cells(statistics([0, 1], [[2.0, 1.0], [4.0, 0.0]], effects), torch.ones(1, 2, dtype=torch.float64))
    assert found.effects[0].tolist() == [[1.5, 0.0], [-1.5, 0.0]]
    assert found.scores[0].tolist() == [[2.0, 1.0], [4.0, 0.0]]
    assert found.called[0].tolist() == [[1.0, 1.0], [1.0, 0.0]]


def test_a_class_without_items_has_no_cell_and_a_set_without_cells_no_number() -> None:
    found = statistics([0, 1], [[2.0, 0.0], [0.0, 1.0]], EFFECTS)
    assert number("concept-relevance-auc", found, [1.0, 0.0]) == 1.0
    assert number("concept-relevance-auc", found, [0.0, 1.0]) == 0.0
    assert np.isnan(number("concept-sign", statistics([0, 1], [[1.0, 1.0]] * 2, EFFECTS, tau=9.0)))


def test_random_scores_are_at_one_half() -> None:
    effects = noise(40, 2, 2, seed=3).double() * 4 - 2
    effects = (effects - effects.mean(0)) + torch.tensor([[2.0, -2.0], [0.0, 0.0]])
    areas = []
    for seed in range(200):
        draws = np.random.Generator(np.random.Philox(seed)).uniform(-1, 1, (40, 2))
        areas.append(number("concept-relevance-auc", statistics([i % 2 for i in range(40)], draws.tolist(), effects.tolist())))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.05)


def test_items_are_scored_by_their_own_renderings() -> None:
    """The rows of a concept off and on give its effect, whatever the explanation says."""
    items = batch(3)
    factors = torch.zeros(3, 3, 2, 3, SIDE, SIDE, dtype=torch.uint8)
    for k in range(3):
        factors[:, k, 1, k] = 255
    truth = {"factors": factors}
    right = torch.tensor([[4.0, -1.0, 0.0], [-4.0, -1.0, 0.0], [0.0, 2.0, 0.0]]) / 3
    scores = vxp.score(Means(), items.inputs, right, truth=truth, kind="concepts", bank=bank(), targets=items.targets,
                       metrics=("concept-relevance-auc|tau:0.3", "concept-sign|tau:0.3", "concept-false-positive",
                                "concepts-named"))
    assert [scores[m].mean for m in ("concept-relevance-auc", "concept-sign", "concept-false-positive")] == [1.0, 1.0, 0.0]
    assert scores["concepts-named"].values.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3])
    with pytest.raises(VxpError, match=r"returned \(3, 2\), expected \(3, 3\): a score for each of first, second, third"):
        vxp.score(Means(), items.inputs, right[:, :2], kind="concepts", bank=bank(), metrics=("concepts-named",))


# ------------------------------------------------------------------------------------------------------------ explainers


def test_derivatives_are_the_weights_of_the_head_and_zero_for_what_it_does_not_read() -> None:
    """Along a channel, 36 positions of length 1 together, the mean rises by 1/6, and the centred logit by its weight."""
    found, weight = explained("cav-derivative|z:0", batch(3)), Means().head.weight.detach()
    torch.testing.assert_close(found, (weight - weight.mean(0)) / 6, rtol=0.05, atol=0.03)
    tested = explained("cav-derivative", batch(3))
    assert tested[:, 2].tolist() == [0.0, 0.0, 0.0]
    assert (tested[:2, 0] == found[:2, 0]).all()
    assert explained("cav-derivative|pool:mean|z:0", batch(3))[0, 0] == pytest.approx(2.0, abs=0.05)


def test_a_direction_is_that_of_the_published_ridge_regression() -> None:
    shown = bank(paired=False)
    examples = torch.cat([shown.on[0], shown.off[0]]).flatten(1)
    told = _concepts.labels(N, N, torch.device("cpu"))
    centred = (examples - examples.mean(0)).double()
    alpha = float(centred.square().sum(1).mean())
    expected = Ridge(alpha=alpha, fit_intercept=False).fit(centred.numpy(), told.numpy()).coef_
    np.testing.assert_allclose(_concepts.ridge(examples, told[:, None], 1.0)[:, 0].numpy(), expected, rtol=1e-6, atol=1e-9)


def test_examples_that_are_all_alike_have_no_direction() -> None:
    same = Bank(NAMES, torch.ones(3, 4, 3, SIDE, SIDE), torch.ones(3, 4, 3, SIDE, SIDE))
    for name in ("cav-derivative", "cav-accuracy"):
        assert explained(name, replace(batch(), bank=same)).abs().max() == 0


def test_the_published_form_finds_what_its_test_finds() -> None:
    """The loss of the first class falls along the first concept, that of the second rises; p is that of SciPy."""
    found = explained("tcav|negatives:6|examples:10", batch(3))
    assert found[0, 0] == 0.5
    assert found[1, 0] == -0.5
    draws = np.random.Generator(np.random.Philox(0))
    a, b = draws.uniform(size=(2, 10))
    assert tcav._p_value(a.mean() - b.mean(), a.var(ddof=1) + b.var(ddof=1), 10) == pytest.approx(ttest_ind(a, b).pvalue)
    assert (tcav._p_value(0.0, 0.0, 10), tcav._p_value(0.1, 0.0, 10)) == (1.0, 0.0)


def test_accuracy_says_what_can_be_decoded_and_not_what_is_used() -> None:
    found = explained("cav-accuracy", batch(3))
    assert found[:, 2].tolist() == [0.5, 0.5, 0.5]  # the model does not read it
    nothing = Bank(NAMES, noise(3, 40, 3, SIDE, SIDE, seed=5), noise(3, 40, 3, SIDE, SIDE, seed=6))
    assert explained("cav-accuracy", replace(batch(), bank=nothing)).abs().max() < 0.2


def test_the_ceiling_is_the_effect_of_pairs_and_refuses_what_is_no_pair() -> None:
    weight = Means().head.weight.detach()
    torch.testing.assert_close(explained("cace|threshold:0", batch(3)), weight - weight.mean(0), rtol=1e-5, atol=1e-5)
    assert explained("cace|threshold:0.5", batch(3))[0, 1] == 0  # -1/3
    with pytest.raises(VxpError, match="needs pairs of examples that differ in the concept alone"):
        explained("cace", replace(batch(), bank=bank(paired=False)))


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_score_depends_on_neither_neighbours_nor_order_nor_global_generators(name: str) -> None:
    items, model = batch(), Means().train()
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    together = explained(name, items, model)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]
    for order in ([4], [5, 0, 3]):
        torch.testing.assert_close(explained(name, items.select(order), model), together[order])
    torch.testing.assert_close(explained(name, items, Means()), together)  # fitted anew
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("name", EXPLAINERS)
def test_explainers_refuse_items_without_examples(name: str) -> None:
    with pytest.raises(VxpError, match="items have no"):
        explained(name, replace(batch(), bank=None))
    assert catalogue()[bind(name).id].kinds == ("concepts",)


def test_directions_are_fitted_once_and_anew_when_model_or_bank_change(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    ridge = _concepts.ridge
    monkeypatch.setattr("vxp_explainers.cav_derivative.ridge", lambda *a: fitted.append(1) or ridge(*a))
    model, items = Means().eval(), batch()
    for part in ([0, 1], [2, 3]):
        explained("cav-derivative", items.select(part), model)
    assert len(fitted) == 3
    with torch.no_grad():
        model.layer.weight.mul_(2)
    explained("cav-derivative", items, model)
    assert len(fitted) == 6
    explained("cav-derivative", replace(items, bank=replace(bank(), on=bank().on + 1)), model)
    assert len(fitted) == 9
    assert len(_concepts._KEPT) <= _concepts.KEPT


def test_bad_parameters_are_refused() -> None:
    for name, words in (("cav-derivative|pool:max", "pool is 'max', expected one of 'none', 'mean'"),
                        ("cav-derivative|nulls:1", "nulls is 1, expected at least 2"),
                        ("tcav|negatives:1", "negatives is 1, expected at least 2"),
                        ("cav-derivative|layer:nowhere", "has no layer 'nowhere'")):
        with pytest.raises(VxpError, match=words):
            explained(name, batch())


def test_references_of_concepts_stand_where_their_truth_is() -> None:
    assert references(("factors",), "concepts") == ["random-concepts", "cav-accuracy", "cace"]
    assert references((), "concepts") == ["random-concepts", "cav-accuracy"]


# ------------------------------------------------------------------------------------------------------- own examples


def folder(place: Path, n: int = 4) -> Path:
    """Two concepts: `Warm Red` with on and off, `bright` beside random images; and pictures to explain."""
    draws = np.random.Generator(np.random.Philox(1))

    def write(where: Path, count: int, add: tuple[int, int, int]) -> None:
        where.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = draws.integers(0, 120, (16, 16, 3)) + np.array(add)
            Image.fromarray(pixels.astype(np.uint8)).save(where / f"{i}.png")

    write(place / "concepts" / "Warm Red" / "on", n, (130, 0, 0))
    write(place / "concepts" / "Warm Red" / "off", n + 1, (0, 0, 0))
    write(place / "concepts" / "bright", n + 2, (130, 130, 130))
    write(place / "concepts" / "random", n, (0, 0, 0))
    write(place / "images", 3, (60, 60, 60))
    (place / "model.py").write_text(
        "from torch import nn\n\n\ndef made():\n    one, two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)\n"
        "    module = nn.Sequential(one, nn.ReLU(), two, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))\n"
        "    return module, {'input_size': (16, 16), 'mean': (0.5,) * 3, 'std': (0.25,) * 3}\n")
    return place


def test_a_folder_of_examples_is_read(tmp_path: Path) -> None:
    found = datasets.examples(folder(tmp_path) / "concepts", (12, 12))
    assert found.names == ("warm-red", "bright")
    assert found.on.shape == found.off.shape == (2, 4, 3, 12, 12)
    assert not found.paired
    assert float(found.on[0, :, 0].float().mean()) > 120 > float(found.on[0, :, 1].float().mean())


def test_a_folder_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    place = folder(tmp_path) / "concepts"
    with pytest.raises(VxpError, match="not a folder"):
        datasets.examples(place / "none", (12, 12))
    (place / "bare").mkdir()
    with pytest.raises(VxpError, match=r"concept 'bare' has 0 images .* expected at least 2"):
        datasets.examples(place, (12, 12))
    (place / "bare").rmdir()
    for picture in sorted((place / "random").iterdir())[1:]:
        picture.unlink()
    with pytest.raises(VxpError, match=r"concept 'bright' has 1 images in .*random"):
        datasets.examples(place, (12, 12))
    (place / "Warm Red" / "on" / "0.png").write_bytes(b"no image")
    for picture in (place / "bright").iterdir():
        picture.unlink()
    (place / "bright").rmdir()
    with pytest.raises(VxpError, match=r"0\.png: not an image"):
        datasets.examples(place, (12, 12))
    with pytest.raises(VxpError, match="no concept in it"):
        datasets.examples(place / "random", (12, 12))


def test_the_notebook_takes_a_folder_a_bank_and_a_mapping(tmp_path: Path) -> None:
    place = folder(tmp_path) / "concepts"
    model, inputs = Means(), noise(2, 3, 16, 16)
    of_folder = vxp.explain(model, inputs, "cav-derivative", bank=place)
    found = datasets.examples(place, (16, 16))
    on, off = found.on.float() / 255, found.off.float() / 255
    pairs = {name: both for name, *both in zip(found.names, on, off, strict=True)}
    torch.testing.assert_close(vxp.explain(model, inputs, "cav-derivative", bank=pairs), of_folder)
    whole = vxp.Bank(found.names, on, off)
    torch.testing.assert_close(vxp.explain(model, inputs, "cav-derivative", bank=whole), of_folder)
    assert vxp.score(model, inputs, of_folder, kind="concepts", bank=place, metrics=("concepts-named",))[
        "concepts-named"].status == ("ok", "ok")
    for wrong, words in ((3, "got a int"), ({"a": noise(2, 3, 16, 16)}, "of the concept 'a'"),
                         (bank(), "as large as the items"), ({"a": (noise(2, 3, 16, 16), noise(2, 3, 8, 8))}, "of the sizes")):
        with pytest.raises(VxpError, match=words):
            vxp.explain(model, inputs, "cav-derivative", bank=wrong)


def test_the_command_explains_one_s_own_model_by_one_s_own_concepts(tmp_path: Path) -> None:
    place = folder(tmp_path)
    own = f"--images {place / 'images'} --concepts {place / 'concepts'} --model {place / 'model.py'}:made"
    said = commanded(f"run {own} --explainer cav-derivative --out {tmp_path / 'run'} --threads 1 --batch-size 4 --device cpu")
    assert "concepts-named" in said
    document = json.loads((tmp_path / "run" / "task.json").read_bytes())
    assert (document["concepts"], document["kinds"]) == (["warm-red", "bright"], ["concepts"])
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count('class="bars"') == 3
    assert "warm-red" in page
    other = replace_examples(place)
    commanded(f"run {own} --explainer cav-derivative --out {tmp_path / 'again'} --threads 1 --batch-size 4 --device cpu")
    again = json.loads((tmp_path / "again" / "task.json").read_bytes())
    assert again["dataset"]["digest"] != document["dataset"]["digest"], other
    assert "has its own items" in commanded(f"run shapes-factors --concepts {place / 'concepts'} --explainer cace", code=2)


def replace_examples(place: Path) -> Path:
    """Another picture in the place of one."""
    path = place / "concepts" / "bright" / "0.png"
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(path)
    return path


# ------------------------------------------------------------------------------------------------------------------ runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight items of the task, through the command."""
    place = tmp_path_factory.mktemp("concepts") / "run"
    commanded(f"run shapes-factors --limit 8 --explainer cav-derivative --out {place} --threads 1 --batch-size 16 --device cpu")
    return place


def test_a_run_is_sealed_validated_and_verified(run: Path, tmp_path: Path) -> None:
    statement, bundle = tmp_path / "statement.json", tmp_path / "bundle"
    statement.write_text(json.dumps(STATEMENT | {"submission_id": "concepts"}))
    commanded(f"seal {run} --explainer cav-derivative --submission {statement} --out {bundle}")
    assert "(0 errors, 0 warnings" in commanded(f"validate {bundle}")
    said = commanded(f"verify {bundle} --all --regenerate cav-derivative --threads 1 --batch-size 16 --out {tmp_path}/a.json")
    assert "E3" in said


def test_the_page_shows_the_concepts_of_every_item(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert page.count('class="bars"') == 8
    assert page.count(">round</text>") == 8
    assert "cav-derivative, round: +" in page
    assert 'aria-label="scores of concepts of' in page


def test_the_ceiling_is_at_the_ceiling(run: Path) -> None:
    (found,) = (json.loads(path.read_bytes()) for path in run.glob("results/*-cace-*/result.json"))
    means = {score["metric"]["id"]: score["mean"] for score in found["scores"]}
    assert means["concept-relevance-auc"] == 1.0
    assert means["concept-sign"] == 1.0


def test_a_task_whose_models_differ_freezes_no_targets() -> None:
    task = tasks.load("shapes-factors")
    assert task.document["concepts"] == list(datasets.source("shapes-factors").examples().names)
    if task.document.get("also_models"):
        assert {item.target for item in task.items} == {None}


def test_what_says_the_same_of_models_of_opposite_truth_is_wrong_of_one() -> None:
    """The shape model looks at no colour, the colour model at no shape: their ceilings differ in sign of relevance, and so does
    the derivative; what can be decoded cannot tell them apart as well."""
    if "factors-colour" not in models.model_names():
        pytest.skip("the colour model is not there")
    task = tasks.load("shapes-factors")
    shares = {}
    for name in ("shapes-cnn", "factors-colour"):
        model = models.load(name)
        loaded = task.load(0, 8, model)
        items = loaded.batch(model.module(loaded.inputs).argmax(1))
        for explainer in ("cace", "cav-derivative|layer:features.8"):
            scores = bind(explainer)(model.module, items).abs().mean(0)
            shares[name, explainer] = (scores[:2].sum() / scores.sum()).item(), (scores[2] / scores.sum()).item()
    for explainer in ("cace", "cav-derivative|layer:features.8"):
        round_and_ring, red = shares["shapes-cnn", explainer]
        assert round_and_ring > 0.6 > 0.2 > red
        round_and_ring, red = shares["factors-colour", explainer]
        assert red > 0.6 > 0.2 > round_and_ring
