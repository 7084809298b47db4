"""The faults of public implementations that concern the core metrics: each as a test that ours does not have it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vxp
from conftest import small_cnn
from oracles import implementation, philox
from torch import Tensor, nn
from torch.nn import functional as F
from vxp.kinds import HEATMAP2D
from vxp.metrics import bind, catalogue, of_kind
from vxp.models import randomised

if TYPE_CHECKING:
    from conftest import Toy

QUICK: dict[str, Any] = {"steps": 8, "samples": 3}
RANKING = ("deletion", "insertion", "srg", "road-morf", "road-lerf", "relevance-rank", "pointing-game",
           "average-drop", "increase-in-confidence", "average-gain")


def everything(names: Any = None) -> list[tuple[str, dict[str, Any]]]:
    chosen = of_kind(HEATMAP2D.id) if names is None else names
    return [(n, {k: v for k, v in QUICK.items() if k in catalogue()[n].parameters}) for n in chosen]


class Recorder(nn.Module):
    """A constant model that keeps what it is shown."""

    def __init__(self, logits: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.logits = logits or (lambda x: torch.tensor([1.0, 0.0]).expand(len(x), -1))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += x.detach().clone().unbind(0)
        return self.logits(x)


def sparse_relu_map(H: int, W: int) -> Tensor:
    """60 % zeros, the rest distinct positive values, as a ReLU leaves them."""
    generator = torch.Generator().manual_seed(6)
    values = torch.randperm(H * W, generator=generator).float() - 0.6 * H * W
    return values.clamp_min(0).view(1, H, W)


# ----------------------------------------------------------------------------------------------------------------- ROAD


@pytest.mark.parametrize("name", ["road-morf", "road-lerf"])
def test_road_removes_the_share_it_says_and_whole_pixels_of_an_rgb_image(name: str) -> None:
    """A percentile of a map with 60 % zeros removes everything at 50 %; indexing channels as pixels crashes on RGB."""
    P = 20 * 25
    inputs = torch.rand(1, 3, 20, 25, generator=torch.Generator().manual_seed(1))
    attribution = sparse_relu_map(20, 25)
    model = Recorder()
    vxp.score(model, inputs, attribution, targets=[0], metrics=[name])
    changed = [(row != inputs[0]) for row in model.seen]
    rows = {int(c.any(0).sum()): c for c in changed if bool(c.any())}
    assert sorted(rows) == [P * percent // 100 for percent in range(10, 100, 10)]
    for n, row in rows.items():
        assert bool((row.any(0) == row.all(0)).all())  # a position goes with all its channels
        values = attribution[0][row.any(0)]
        positive = int((attribution > 0).sum())
        if name == "road-morf":  # the highest first; zeros only when nothing else is left
            assert int((values > 0).sum()) == min(n, positive)
        else:
            assert int((values > 0).sum()) == max(0, n - (P - positive))


def test_road_scores_every_item_and_each_as_if_alone(toy: Toy) -> None:
    """The public metric reports its first batch only, and its rows depend on their batch."""
    metrics = ["road-morf", "road-lerf"]
    together = vxp.score(toy.model, toy.inputs, toy.maps["random"], metrics=metrics, **toy.arguments())
    for name in metrics:
        assert len(set(together[name].values.tolist())) == 3
        for i in range(3):
            alone = vxp.score(toy.model, toy.inputs[i : i + 1], toy.maps["random"][i : i + 1], toy.targets[i : i + 1],
                              metrics=[name], normalization=toy.normalization, seed=toy.seed, ids=[str(i)])
            assert float(alone[name].values) == pytest.approx(float(together[name].values[i]), abs=1e-6)


def test_imputation_noise_differs_between_items_and_rates() -> None:
    grey = torch.full((2, 3, 20, 20), 0.5)
    model = Recorder()
    attribution = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(0)).expand(2, -1, -1)
    vxp.score(model, grey, attribution, targets=[0, 0], metrics=["road-morf"])
    rows = [row for row in model.seen if bool((row != 0.5).any())]
    assert len(rows) == 18
    # a grey image imputes to grey: what is left is the noise, N(0, 0.01) per channel
    noise = torch.stack([row[:, row[0] != 0.5][:, :40] - 0.5 for row in rows])
    assert float(noise.std()) == pytest.approx(0.01, rel=0.05)
    assert len({float(n[0, 0]) for n in noise}) == 18
    assert abs(float(torch.corrcoef(noise.transpose(0, 1).flatten(1))[0, 1])) < 0.1


# --------------------------------------------------------------------------------------------------------- localisation


@pytest.mark.parametrize("name", ["pointing-game", "energy-pointing-game", "grid-pointing-game", "relevance-rank"])
def test_empty_truth_is_undefined_and_no_hit(toy: Toy, name: str) -> None:
    truth = {key: value.clone() for key, value in toy.truth.items()}
    for value in truth.values():
        value[1] = False
    arguments = toy.arguments() | {"truth": truth}
    score = vxp.score(toy.model, toy.inputs, toy.maps["random"], metrics=[name], **arguments)[name]
    assert score.status == ("ok", "undefined:empty-truth", "ok")
    assert math.isnan(score.values[1])
    assert score.mean == pytest.approx((float(score.values[0]) + float(score.values[2])) / 2)


def test_of_tied_maxima_only_the_first_counts(toy: Toy) -> None:
    attribution = torch.zeros(2, 24, 32)
    attribution[:, 2, 5] = attribution[:, 20, 25] = 1.0
    truth = torch.zeros(2, 24, 32, dtype=torch.bool)
    truth[0, 2, 5] = truth[1, 20, 25] = True
    score = vxp.score(toy.model, toy.inputs[:2], attribution, truth=truth, metrics=["pointing-game"])["pointing-game"]
    assert score.values.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("kind", ["random", "native", "ties", "explained"])
def test_relevance_mass_of_signed_maps_is_a_share(toy: Toy, kind: str) -> None:
    """With negative values in the sum, public code gives values such as 1.68."""
    names = ["energy-pointing-game", "grid-pointing-game"]
    inside = vxp.score(toy.model, toy.inputs, toy.maps[kind], metrics=names, **toy.arguments())
    outside = vxp.score(toy.model, toy.inputs, toy.maps[kind], metrics=names,
                        **toy.arguments() | {"truth": {key: ~toy.truth[key] for key in ("mask", "cells")}})
    for name in names:
        assert all(0 <= v <= 1 for v in inside[name].values.tolist())
        assert (inside[name].values + outside[name].values).tolist() == pytest.approx([1, 1, 1], abs=1e-12)


# ----------------------------------------------------------------------------------------- one item's trouble stays its


@pytest.fixture(scope="module")
def good(toy: Toy) -> vxp.Scores:
    """Every score of the random maps, which several tests compare with."""
    return vxp.score(toy.model, toy.inputs, toy.maps["random"], metrics=everything(), **toy.arguments())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_broken_map_leaves_the_others_bit_equal(toy: Toy, good: vxp.Scores, bad: float) -> None:
    """Where maps are normalised by the batch's maximum, one NaN ruins every image of the batch."""
    broken = toy.maps["random"].clone()
    broken[1, 4, 4] = bad
    found = vxp.score(toy.model, toy.inputs, broken, metrics=everything(), **toy.arguments())
    assert list(found) == list(good)
    for signature, score in found.items():
        assert score.status == (good[signature].status[0], "undefined:non-finite-map", good[signature].status[2])
        assert math.isnan(score.values[1])
        # a metric of the set may say nothing of one item by itself, and keeps its numbers in the statistics
        pairs = [(score.values, good[signature].values), (score.statistics, good[signature].statistics)]
        for one, other in ((a, b) for a, b in pairs if a is not None and b is not None):
            torch.testing.assert_close(one[[0, 2]], other[[0, 2]], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("value", [0.1, 0.3, -0.7, 1.1])
def test_a_constant_map_is_constant_on_any_grid(toy: Toy, value: float) -> None:
    """Interpolated in float32, a constant 7 x 7 map gets a last digit here and there, and so an order and a score."""
    flat = torch.full((3, 7, 7), value)
    scores = vxp.score(toy.model, toy.inputs, flat, metrics=everything(RANKING), **toy.arguments())
    assert {status for score in scores.values() for status in score.status} == {"undefined:constant-map"}


def test_a_plateau_of_the_stored_map_is_a_plateau_of_the_evaluation_map() -> None:
    """Else the order of its positions is that of rounding errors, which differ between machines."""
    native = torch.full((1, 7, 7), 0.1)
    native[:, 5:] = 0.7
    values = HEATMAP2D.resampled(native, (24, 32), "bilinear")[0]
    assert bool((values == values[:, :1]).all())
    assert bool((values[:15] == native[0, 0, 0]).all())
    assert bool((values[20:] == native[0, 6, 0]).all())


@pytest.mark.parametrize("kind", ["random", "ties"])
def test_a_neighbour_with_huge_values_changes_nothing(toy: Toy, good: vxp.Scores, kind: str) -> None:
    """Normalised by the batch's maximum, a map scores differently next to a larger one."""
    loud = toy.maps[kind].clone()
    loud[1] *= 1e6
    quiet = good if kind == "random" else vxp.score(toy.model, toy.inputs, toy.maps[kind], metrics=everything(),
                                                    **toy.arguments())
    found = vxp.score(toy.model, toy.inputs, loud, metrics=everything(), **toy.arguments())
    for signature, score in found.items():
        torch.testing.assert_close(score.values[[0, 2]], quiet[signature].values[[0, 2]], rtol=0, atol=0, equal_nan=True)


def test_an_explainer_that_fails_costs_its_own_scores_only(toy: Toy) -> None:
    """One failing metric loses all results of the call elsewhere."""

    def broken(model: nn.Module, batch: Any) -> Tensor:
        raise RuntimeError("no gradient here")

    scores = vxp.score(toy.model, toy.inputs, toy.maps["random"],
                       metrics=["max-sensitivity|samples:2", "deletion|steps:8", "efficient-mprt", "gini"],
                       **toy.arguments() | {"explainer": broken})
    assert scores["max-sensitivity"].status == scores["efficient-mprt"].status == ("failed:explainer-error",) * 3
    assert scores["max-sensitivity"].values.isnan().all()
    assert scores["deletion"].status == scores["gini"].status == ("ok",) * 3


@pytest.mark.parametrize("name", [n for n, m in catalogue().items() if m.re_explains])
@pytest.mark.parametrize("everywhere", [True, False])
def test_an_explanation_that_becomes_nan_is_a_status_of_its_item(toy: Toy, name: str, everywhere: bool) -> None:
    """Dead activations of a randomised model make NaN maps; that is no number and no fault of the other items."""

    def brittle(model: nn.Module, batch: Any) -> Tensor:
        found = toy.explainer(model, batch)
        for i, item in enumerate(batch.ids):
            if item == "1":
                found[i, : len(found[i]) if everywhere else 1] = float("nan")
        return found

    metrics = everything([name, "gini"])
    whole = vxp.score(toy.model, toy.inputs, toy.maps["explained"], metrics=metrics, **toy.arguments())
    scores = vxp.score(toy.model, toy.inputs, toy.maps["explained"], metrics=metrics,
                       **toy.arguments() | {"explainer": brittle})
    score = scores[name]
    assert score.status[0] == score.status[2] == "ok"
    assert score.status[1].startswith("failed:")
    assert math.isnan(score.values[1])
    assert score.values[[0, 2]].equal(whole[name].values[[0, 2]])
    assert scores["gini"].status == ("ok",) * 3


# ----------------------------------------------------------------------------------------------------------- randomness


def test_no_global_generator_is_read_seeded_or_changed(toy: Toy) -> None:
    def run() -> dict[str, Any]:
        return vxp.score(toy.model, toy.inputs, toy.maps["random"], metrics=everything(), **toy.arguments()).to_dict()

    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]
    first = run()
    assert torch.get_rng_state().equal(before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]  # type: ignore[index]
    torch.manual_seed(2)
    random.seed(2)
    np.random.seed(2)
    assert str(run()) == str(first)


def test_global_switches_and_the_model_are_left_alone(toy: Toy) -> None:
    before = {name: value.clone() for name, value in toy.model.state_dict().items()}
    inputs, attributions = toy.inputs.clone(), toy.maps["random"].clone()
    gradients = torch.is_grad_enabled()
    toy.model.train()
    try:
        vxp.score(toy.model, toy.inputs, toy.maps["random"], metrics=everything(), **toy.arguments())
        assert toy.model.training
        assert all(module.training for module in toy.model.modules())
    finally:
        toy.model.eval()
    assert torch.is_grad_enabled() == gradients
    assert all(value.equal(before[name]) for name, value in toy.model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in toy.model.parameters())
    assert toy.inputs.equal(inputs)
    assert toy.maps["random"].equal(attributions)


# --------------------------------------------------------------------------------------------------------------- curves


def test_a_constant_curve_of_one_is_exactly_one_whatever_the_steps() -> None:
    """0.999, 0.933 or 0.667 elsewhere: without endpoints, or with another dx."""
    model = Recorder(lambda x: torch.tensor([200.0, 0.0]).expand(len(x), -1))
    for steps in (1, 7, 50, 155, 224):
        score = vxp.score(model, torch.rand(1, 3, 15, 17), torch.rand(1, 15, 17), targets=[0],
                          metrics=[f"deletion|steps:{steps}", f"insertion|steps:{steps}", f"srg|steps:{steps}"])
        assert [float(s.values) for s in score.values()] == [1.0, 1.0, 0.0]


def test_both_endpoints_are_on_the_curve_and_x_is_the_true_fraction(toy: Toy) -> None:
    scores = vxp.score(toy.model, toy.inputs, toy.maps["random"], metrics=["deletion|steps:5"], **toy.arguments())
    score = scores["deletion"]
    assert list(score.x) == [k / 768 for k in (0, 153, 307, 460, 614, 768)]  # 768/5 is no whole number
    assert score.curve is not None
    with torch.no_grad():
        whole, nothing = toy.model(toy.inputs).softmax(1), toy.model(torch.zeros_like(toy.inputs)).softmax(1)
    at = toy.targets[:, None]
    assert score.curve[:, 0].tolist() == pytest.approx(whole.gather(1, at).flatten().tolist(), abs=1e-6)
    assert score.curve[:, -1].tolist() == pytest.approx(nothing.gather(1, at).flatten().tolist(), abs=1e-6)


@pytest.mark.parametrize("kind", ["native", "ties", "random"])
def test_ten_times_the_attribution_is_the_same_ranking(toy: Toy, kind: str) -> None:
    """Without scaling, public scores change a hundredfold."""
    metrics = everything(RANKING)
    one = vxp.score(toy.model, toy.inputs, toy.maps[kind], metrics=metrics, **toy.arguments())
    ten = vxp.score(toy.model, toy.inputs, toy.maps[kind] * 10, metrics=metrics, **toy.arguments())
    for signature, score in one.items():
        assert ten[signature].status == score.status
        assert ten[signature].values.tolist() == pytest.approx(score.values.tolist(), abs=1e-6, nan_ok=True)


# ------------------------------------------------------------------------------------------------ sanity and robustness


def test_similarity_of_maps_is_two_dimensional() -> None:
    """The SSIM of flattened maps depends on how the image lies; that of images does not."""
    generator = torch.Generator().manual_seed(12)
    maps = {0: torch.rand(20, 20, generator=generator).cumsum(1), 1: torch.rand(20, 20, generator=generator).cumsum(1)}

    def score(turn: Callable[[Tensor], Tensor]) -> float:
        def explainer(model: nn.Module, batch: Any) -> Tensor:
            return torch.stack([turn(maps[t]) for t in batch.targets.tolist()])

        found = vxp.score(Recorder(), torch.rand(1, 3, 20, 20), turn(maps[0])[None], targets=[0],
                          metrics=["random-logit"], explainer=explainer)
        return float(found["random-logit"].values)

    whole = score(lambda m: m)
    assert score(lambda m: m.T) == pytest.approx(whole, abs=1e-9)
    assert score(lambda m: m.flip(0)) == pytest.approx(whole, abs=1e-9)
    # and it sees the second dimension: the same rows in another order are other neighbours
    shuffled = torch.randperm(20, generator=generator)
    assert abs(score(lambda m: m[shuffled]) - whole) > 1e-3


def test_the_other_class_is_another_class_keyed_by_the_item() -> None:
    asked: dict[str, int] = {}

    def explainer(model: nn.Module, batch: Any) -> Tensor:
        asked.update(zip(batch.ids, batch.targets.tolist(), strict=True))
        return batch.inputs[:, 0]  # type: ignore[no-any-return]

    model = Recorder(lambda x: torch.arange(7.0).expand(len(x), -1))
    inputs = torch.rand(40, 3, 11, 11)
    vxp.score(model, inputs, inputs[:, 0], targets=[3] * 40, metrics=["random-logit"], explainer=explainer, seed=5)
    assert set(asked.values()) == {0, 1, 2, 4, 5, 6}
    for item, other in asked.items():
        u = philox.uniforms(philox.key(5, item, "random-logit@1", "class"), 0, 1)[0, 0]
        assert other == (4 + math.floor(u * 6)) % 7


class Tokens(nn.Module):
    """The parts of a vision transformer that public randomisation leaves out, or makes identical twins of."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, stride=8)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.position = nn.Parameter(torch.zeros(1, 7, 16))
        self.scale = nn.Parameter(torch.full((16,), 1e-4))
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(2))
        self.attentions = nn.ModuleList(nn.MultiheadAttention(16, 2, batch_first=True) for _ in range(3))
        self.mlps = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.bn = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 4)
        with torch.no_grad():
            self.bn.running_mean.fill_(3.0)  # type: ignore[union-attr]
            self.bn.running_var.fill_(5.0)  # type: ignore[union-attr]
            for norm in [*self.norms, self.bn]:
                norm.weight.fill_(0.3)
                norm.bias.fill_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.bn(self.patch(x)).flatten(2).transpose(1, 2)
        z = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.position
        for attention, mlp in zip(self.attentions, self.mlps, strict=True):
            z = z + self.scale * attention(self.norms[0](z), z, z)[0]
            z = z + mlp(self.norms[1](z))
        head: Tensor = self.head(z[:, 0])
        return head


def test_randomisation_draws_every_tensor_anew_and_no_two_alike() -> None:
    """Elsewhere one seed serves every layer (36 of 38 ViT matrices are twins) and 25 % of a ViT is never redrawn."""
    torch.manual_seed(0)
    model = Tokens().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states: list[dict[str, Tensor]] = []

    def explainer(module: nn.Module, batch: Any) -> Tensor:
        states.append({name: value.clone() for name, value in module.state_dict().items()})
        return batch.inputs[:, 0]  # type: ignore[no-any-return]

    inputs = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    vxp.score(model, inputs, inputs[:, 0], metrics=["efficient-mprt"], explainer=explainer, seed=3)
    drawn = states[0]
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())  # the model itself is whole
    fixed = {name for name in drawn if "norm" in name or name.startswith("bn.") or name.endswith("bias")}
    for name in fixed:
        value = drawn[name]
        if value.is_floating_point():
            assert bool((value == (1.0 if name.endswith(("weight", "var")) else 0.0)).all()), name
    random_names = [name for name in drawn if name not in fixed]
    assert {"token", "position", "scale", "patch.weight", "attentions.0.in_proj_weight"} <= set(random_names)
    for name in random_names:
        assert bool((drawn[name] != before[name]).all()), name
    firsts = [tuple((drawn[name] / drawn[name].std()).flatten()[:8].tolist()) for name in random_names]
    assert len({tuple(round(v, 3) for v in first) for first in firsts}) == len(random_names)
    fan_in = drawn["patch.weight"][0].numel()
    assert float(drawn["patch.weight"].std()) == pytest.approx(math.sqrt(2 / fan_in), rel=0.05)
    assert float(drawn["position"].std()) == pytest.approx(0.02, rel=0.3)


def test_randomisation_depends_on_the_seed_and_not_on_the_weights() -> None:
    torch.manual_seed(4)
    one, two = Tokens().eval(), Tokens().eval()
    a, b = randomised(one, "efficient-mprt@1", 1).state_dict(), randomised(two, "efficient-mprt@1", 1).state_dict()
    c = randomised(one, "efficient-mprt@1", 2).state_dict()
    assert all(a[name].equal(b[name]) for name in a)
    assert not a["head.weight"].equal(c["head.weight"])


def test_the_draws_of_a_float64_model_are_float32() -> None:
    """mprt.5: the factor is multiplied in float32."""
    state = randomised(small_cnn().double(), "efficient-mprt@1", 1).state_dict()
    same = randomised(small_cnn(), "efficient-mprt@1", 1).state_dict()
    assert state["0.weight"].dtype == torch.float64
    assert all(value.equal(same[name].to(value.dtype)) for name, value in state.items())


def flipping() -> nn.Module:
    """Class 0 where the mean is above zero, else class 1."""
    return Recorder(lambda x: torch.stack([x.flatten(1).mean(1) * 50, -x.flatten(1).mean(1) * 50], 1))


def test_the_target_is_frozen_when_inputs_are_perturbed() -> None:
    """Elsewhere the explained class is that of the perturbed input."""
    model = flipping()
    inputs = torch.full((2, 3, 12, 12), 0.01)
    asked: list[int] = []
    predicted: list[int] = []

    def explainer(module: nn.Module, batch: Any) -> Tensor:
        asked.extend(batch.targets.tolist())
        with torch.no_grad():
            predicted.extend(module(batch.inputs).argmax(1).tolist())
        return batch.inputs[:, 0]  # type: ignore[no-any-return]

    vxp.score(model, inputs, inputs[:, 0] + torch.rand(12, 12), metrics=["max-sensitivity|samples:12|radius:2.0"],
              explainer=explainer)
    assert asked == [0] * 24
    assert set(predicted) == {0, 1}  # the noise does change the class


def test_the_target_is_frozen_along_the_curves() -> None:
    inputs = torch.full((1, 3, 12, 12), 0.2)
    inputs[:, :, :6] = -0.1  # removing the upper half leaves class 0, the lower half leaves class 1
    attribution = torch.zeros(1, 12, 12)
    attribution[:, 6:] = 1.0
    score = vxp.score(flipping(), inputs, attribution, metrics=["deletion|steps:2"])["deletion"]
    assert score.curve is not None
    # mean .05, then -.05, then 0: the probability of class 0 throughout
    expected = [1 / (1 + math.exp(-5)), 1 / (1 + math.exp(5)), 0.5]
    assert score.curve[0].tolist() == pytest.approx(expected, abs=1e-5)


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(("change", "words"), [
    ({"attributions": torch.rand(2, 24, 32)}, ["attributions", "(2, 24, 32)", "3"]),
    ({"attributions": torch.rand(3, 2, 24, 32)}, ["attributions", "(3, 2, 24, 32)", "pool="]),
    ({"targets": [0, 1]}, ["targets"]),
    ({"targets": [0, 1, 9]}, ["targets", "9", "0..4"]),
    ({"truth": torch.zeros(3, 8, 8, dtype=torch.bool)}, ["truth", "(3, 8, 8)", "(3, 24, 32)"]),
    ({"truth": None}, ["pointing-game", "truth"]),
    ({"explainer": None}, ["max-sensitivity", "explainer"]),
    ({"metrics": ["deletoin"]}, ["deletoin", "deletion"]),
    ({"metrics": ["deletion|step:4"]}, ["step", "steps"]),
    ({"metrics": ["deletion|steps:0"]}, ["steps", "0"]),
    ({"metrics": ["deletion|fill:grey"]}, ["fill", "grey"]),
    ({"inputs": torch.full((3, 3, 24, 32), float("nan"))}, ["inputs", "NaN"]),
])
def test_bad_input_is_an_error_that_says_what_was_got(toy: Toy, change: dict[str, Any], words: list[str]) -> None:
    """Elsewhere an assert, or a crash deep inside."""
    arguments: dict[str, Any] = toy.arguments() | {
        "model": toy.model, "inputs": toy.inputs, "attributions": toy.maps["random"],
        "metrics": ["deletion|steps:4", "pointing-game", "max-sensitivity|samples:1"],
    } | change
    with pytest.raises(vxp.VxpError) as caught:
        vxp.score(**arguments)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(("logits", "words"), [
    (lambda x: torch.zeros(len(x), 3, 1), ["logits", "3, 1)"]),
    (lambda x: torch.full((len(x), 3), float("nan")), ["logits", "NaN"]),
    (lambda x: torch.zeros(5, 3), ["logits", "(5, 3)"]),
])
def test_a_model_of_the_wrong_shape_or_with_nan_is_an_error(
    logits: Callable[[Tensor], Tensor], words: list[str]
) -> None:
    with pytest.raises(vxp.VxpError) as caught:
        vxp.score(Recorder(logits), torch.rand(2, 3, 8, 8), torch.rand(2, 8, 8), metrics=["deletion|steps:4"])
    assert all(word in str(caught.value) for word in words), str(caught.value)


def half_sick(toy: Toy, sick: int) -> nn.Module:
    """The toy's model, without a finite output for one of its items as it is."""

    def logits(x: Tensor) -> Tensor:
        found = toy.model(x)
        bad = torch.tensor([row.equal(toy.inputs[sick]) for row in x])
        return torch.where(bad[:, None], torch.full_like(found, float("nan")), found)

    return Recorder(logits)


def test_an_item_without_a_finite_output_costs_its_own_scores_only(toy: Toy) -> None:
    """5.11.3: the whole call used to be lost."""
    metrics = ["deletion|steps:4", "gini", "max-sensitivity|samples:2", "max-box-acc-v2|thresholds:10"]
    arguments = toy.arguments()
    whole = vxp.score(toy.model, toy.inputs, toy.maps["random"], metrics=metrics, **arguments)
    with pytest.warns(vxp.VxpWarning, match=r"NaN or infinite logits for items \['1'\]"):
        given = vxp.score(half_sick(toy, 1), toy.inputs, toy.maps["random"], metrics=metrics, **arguments)
    assert given["deletion"].status == ("ok", "failed:non-finite-score", "ok")
    assert given["gini"].status == ("ok",) * 3  # takes nothing from the model
    assert given["deletion"].values[[0, 2]].equal(whole["deletion"].values[[0, 2]])
    # without targets they are predicted, and of this item nothing is: no score of it has a class to be of
    with pytest.warns(vxp.VxpWarning, match="nothing is predicted"):
        predicted = vxp.score(half_sick(toy, 1), toy.inputs, toy.maps["random"], metrics=metrics,
                              **arguments | {"targets": None})
    assert {s.status for s in predicted.values()} == {("ok", "failed:non-finite-score", "ok")}
    assert 0 <= predicted["max-box-acc-v2"].mean <= 1
    with pytest.warns(vxp.VxpWarning, match="nothing is predicted"):
        maps = vxp.explain(half_sick(toy, 1), toy.inputs, toy.explainer)
    assert maps.isnan().flatten(1).all(1).tolist() == [False, True, False]


WIDE = ["average-drop", "average-drop|mask:binary|keep:50", "average-drop|ties:t-tame|keep:50", "increase-in-confidence",
        "increase-in-confidence|mask:binary|keep:50", "average-gain", "adcc", "max-box-acc-v2|thresholds:10", "random-logit",
        "mprt|similarity:ssim|stages:1", "label-randomisation|similarity:ssim"]


@pytest.mark.parametrize("wanted", WIDE)
def test_a_map_whose_range_is_no_float32_cannot_be_min_maxed(toy: Toy, wanted: str) -> None:
    """5.3.6: most of it was divided by infinity, and 0 passed for a score. The oracle says the same of it."""
    wide = toy.maps["random"].clone()
    wide[1] *= 3e38 / wide[1].abs().max()
    wide[1, 0, :2] = torch.tensor([-3e38, 3e38])
    bound = bind(wanted)
    score = vxp.score(toy.model, toy.inputs, wide, metrics=[wanted], **toy.arguments())[bound.signature]
    assert score.status == ("ok", "failed:non-finite-score", "ok")
    assert math.isnan(score.values[1])
    samples = [toy.sample("random", i, "mask") | {"attribution": wide[i].numpy()} for i in range(3)]
    for sample in samples:
        del sample["truths"]["boxes"]
    metric = bound.metric
    case = {"metric": metric.id, "level": metric.level, "undefined": metric.undefined, "parameters": dict(bound.parameters),
            "items": [{"cluster": cluster} for cluster in toy.clusters]}
    assert tuple(implementation.score(case, samples)["status"]) == score.status


@pytest.mark.parametrize("metric", [
    "deletion|steps:4", "insertion|steps:4|fill:mean", "srg|steps:4", "average-drop", "increase-in-confidence", "average-gain",
    "road-morf", "road-lerf", "road-morf|readout:class-kept", "road-lerf|readout:class-kept",
])
def test_a_model_that_gives_nan_on_perturbed_inputs_has_no_score_there(metric: str) -> None:
    """A comparison with NaN is false and its argmax is a class: neither may pass for a number."""
    inputs = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(5))
    inputs[1] += 10

    def logits(x: Tensor) -> Tensor:
        found = torch.stack([x.flatten(1).mean(1), -x.flatten(1).mean(1)], 1)
        perturbed = torch.tensor([bool(row.max() > 5) and not row.equal(inputs[1]) for row in x])
        return torch.where(perturbed[:, None], torch.full_like(found, float("nan")), found)

    attributions = torch.rand(2, 12, 12, generator=torch.Generator().manual_seed(6))
    score = vxp.score(Recorder(logits), inputs, attributions, metrics=[metric])[metric]
    assert score.status == ("ok", "failed:non-finite-score")
    assert math.isnan(score.values[1])


# ------------------------------------------------------------------------------------------------------ explaining again

AGAIN = [m for m in everything() if catalogue()[m[0]].re_explains]


def patterned(module: nn.Module, batch: Any) -> Tensor:
    """A map that depends on model and input, on a grid of its own."""
    return (batch.inputs.mean(1) + module(batch.inputs)[:, :1, None])[:, ::2, ::2].detach()


@pytest.mark.parametrize("request_", AGAIN, ids=lambda m: m[0])
def test_a_value_that_is_not_finite_is_judged_on_the_grid_that_it_was_made_on(
    request_: tuple[str, dict[str, Any]], toy: Toy
) -> None:
    """Each row is on a grid finer than the input's, of which nearest sampling skips a position that is NaN."""
    @vxp.explainer("skipped", signed=True, resample="nearest")
    def skipped(module: nn.Module, batch: Any) -> Tensor:
        fine = F.interpolate(patterned(module, batch)[:, None], scale_factor=6)[:, 0]
        fine[:, 0, 0] = float("nan")
        assert torch.isfinite(HEATMAP2D.resampled(fine, batch.inputs.shape[2:], "nearest")).all()
        return fine

    maps = patterned(toy.model, SimpleNamespace(inputs=toy.inputs))
    found = vxp.score(toy.model, toy.inputs, maps, metrics=[request_], **toy.arguments() | {"explainer": skipped})
    (score,) = found.values()
    assert set(score.status) == {"failed:non-finite-score"}


@pytest.mark.parametrize("request_", AGAIN, ids=lambda m: m[0])
def test_a_map_made_again_may_have_a_grid_of_its_own(request_: tuple[str, dict[str, Any]], toy: Toy) -> None:
    """Stored on the input grid and made again on half of it, nearest: the maps on the input grid are what counts."""
    @vxp.explainer("halved", signed=True, resample="nearest")
    def halved(module: nn.Module, batch: Any) -> Tensor:
        return patterned(module, batch)

    @vxp.explainer("whole", signed=True, resample="nearest")
    def whole(module: nn.Module, batch: Any) -> Tensor:
        return HEATMAP2D.resampled(patterned(module, batch), batch.inputs.shape[2:], "nearest")

    maps = HEATMAP2D.resampled(patterned(toy.model, SimpleNamespace(inputs=toy.inputs)), toy.inputs.shape[2:], "nearest")
    one, other = (vxp.score(toy.model, toy.inputs, maps, metrics=[request_], **toy.arguments() | {"explainer": e})
                  for e in (halved, whole))
    (a,), (b,) = (list(s.values()) for s in (one, other))
    assert set(a.status) == {"ok"}
    torch.testing.assert_close(a.values, b.values, atol=0, rtol=0, equal_nan=True)


def test_under_the_rule_none_a_map_made_again_on_another_grid_is_an_error_of_the_explainer(toy: Toy) -> None:
    @vxp.explainer("other-grid", signed=True, resample="none")
    def other_grid(module: nn.Module, batch: Any) -> Tensor:
        return patterned(module, batch)

    found = vxp.score(toy.model, toy.inputs, toy.maps["random"], metrics=["random-logit", "entropy"],
                      **toy.arguments() | {"explainer": other_grid})
    statuses = {name.partition("@")[0]: set(score.status) for name, score in found.items()}
    assert statuses == {"random-logit": {"failed:explainer-error"}, "entropy": {"ok"}}
