"""Sanity metrics and ADCC: scores known in closed form, and the faults of other implementations that ours do not have."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vxp
from scipy.stats import spearmanr
from torch import Tensor, nn
from vxp import models
from vxp.core import Batch, Case, VxpError
from vxp.engine import Engine, Job
from vxp.maintain.train_shapes import RELABELLED, TRAIN_SEED, images, permuted
from vxp.metrics import bind_all, catalogue
from vxp.metrics._similarity import SIMILARITIES, similarities, still
from vxp.metrics.label_randomisation import mean_similarity
from vxp.runs.context import Context, Quiet, Settings

SIDE = 16


class Linear(nn.Module):
    """Logits w.x and 0: the target's probability is the logistic function of w.x."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: Tensor) -> Tensor:
        total = (x * self.w).flatten(1).sum(1)
        return torch.stack([total, torch.zeros_like(total)], 1)


def linear() -> tuple[Linear, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return Linear(torch.randn(3, SIDE, SIDE, generator=generator) / 8), torch.rand(2, 3, SIDE, SIDE, generator=generator)


def gradient(model: nn.Module, batch: Any) -> Tensor:
    x = batch.inputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(model(x).gather(1, batch.targets[:, None]).sum(), x)
    return found.sum(1)


def gradient_times_input(model: nn.Module, batch: Any) -> Tensor:
    x = batch.inputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(model(x).gather(1, batch.targets[:, None]).sum(), x)
    return (found * x.detach()).sum(1)


def brightness(model: nn.Module, batch: Any) -> Tensor:
    """A map of the input alone."""
    return batch.inputs.sum(1)


def scored(metric: str, explainer: Any, maps: Tensor | None = None, **more: Any) -> vxp.Score:
    """Two items of the linear model; their stored maps are what the explainer makes of them."""
    model, inputs = linear()
    targets = torch.zeros(2, dtype=torch.long)
    stored = explainer(model, Batch(("0", "1"), inputs, targets)) if maps is None else maps
    return vxp.score(model, inputs, stored.detach(), targets=[0, 0], metrics=[metric], explainer=explainer, **more)[metric]


# ------------------------------------------------------------------------------------------------------- randomisation


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("mode", ["cascading", "independent"])
def test_an_explainer_that_ignores_the_model_stays_as_it_is_at_every_stage(mode: str, similarity: str) -> None:
    score = scored(f"mprt|mode:{mode}|similarity:{similarity}", brightness)
    assert score.curve is not None
    assert score.x == tuple(s / 8 for s in range(1, 9))
    assert score.curve.flatten().tolist() == pytest.approx([1.0] * 16, abs=1e-12)
    assert score.values.tolist() == pytest.approx([1.0, 1.0], abs=1e-12)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_smoothing_an_explainer_that_ignores_the_model_leaves_it_alike(similarity: str) -> None:
    """Every model gets the same noise."""
    score = scored(f"smooth-mprt|similarity:{similarity}", brightness)
    assert score.values.tolist() == pytest.approx([1.0, 1.0], abs=1e-12)
    other = linear()[0]
    labels = scored(f"label-randomisation|similarity:{similarity}", brightness, relabelled=other)
    assert labels.mean == pytest.approx(1.0, abs=1e-12)


def test_smoothing_the_gradient_of_a_linear_model_changes_nothing() -> None:
    """Its gradient is the same at every input: smooth MPRT is MPRT."""
    plain, smooth = (scored(f"{name}|stages:3", gradient) for name in ("mprt", "smooth-mprt"))
    assert smooth.curve is not None
    assert plain.curve is not None
    assert smooth.curve.flatten().tolist() == pytest.approx(plain.curve.flatten().tolist(), abs=1e-9)


def test_a_linear_models_curve_steps_where_its_only_tensor_is_drawn() -> None:
    """One module with parameters, so of three stages the last changes it and the others nothing."""
    score = scored("mprt|stages:3", gradient)
    assert score.curve is not None
    model, _ = linear()
    drawn = models.randomised(model, "mprt@1", 0, mode="all")
    known = spearmanr(model.w.detach().sum(0).flatten(), drawn.get_parameter("w").detach().sum(0).flatten())[0]
    assert score.curve[0].tolist() == pytest.approx([1.0, 1.0, known], abs=1e-9)
    assert float(score.values[0]) == pytest.approx((2 + known) / 3, abs=1e-9)


def test_a_randomised_map_of_one_value_has_nothing_of_the_first() -> None:
    def dies(model: nn.Module, batch: Any) -> Tensor:
        return brightness(model, batch) * (1.0 if model is trained else 0.0)

    trained, inputs = linear()
    maps = brightness(trained, Batch(("0", "1"), inputs, torch.zeros(2, dtype=torch.long)))
    found = vxp.score(trained, inputs, maps, targets=[0, 0], metrics=["mprt", "mprt|similarity:spearman-abs"], explainer=dies)
    assert [s.values.tolist() for s in found.values()] == [[0.0, 0.0], [0.0, 0.0]]


def test_a_map_of_one_sign_and_size_has_no_ranks_of_its_absolute_values() -> None:
    maps = torch.ones(2, SIDE, SIDE)
    maps[:, :3] = -1
    statuses = {kind: scored(f"mprt|similarity:{kind}", brightness, maps).status for kind in SIMILARITIES}
    assert statuses == {"spearman": ("ok",) * 2, "spearman-abs": ("undefined:zero-variance",) * 2, "ssim": ("ok",) * 2}
    nothing = torch.full((2, SIDE, SIDE), 0.5)
    for name in ("mprt", "smooth-mprt", "adcc"):
        assert scored(name, brightness, nothing).status == ("undefined:constant-map",) * 2


def test_rank_similarity_shares_ranks_among_equals() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randint(-3, 4, (2, 4, 12, 13), generator=generator).float()  # many ties
    for kind, view in (("spearman", lambda x: x), ("spearman-abs", abs)):
        known = [spearmanr(view(x).flatten(), view(y).flatten())[0] for x, y in zip(a, b, strict=True)]
        assert similarities(kind, a, b[:, None])[:, 0].tolist() == pytest.approx(known, abs=1e-12)
    assert still("spearman", a).tolist() == [False] * 4


def test_structural_similarity_is_that_of_images_not_of_vectors() -> None:
    """Turned together, two images are as alike as before; vectors of their rows are not."""
    generator = torch.Generator().manual_seed(1)
    a = torch.rand(1, SIDE, SIDE, generator=generator).cumsum(2)
    b = a + torch.rand(1, SIDE, SIDE, generator=generator).cumsum(1)
    straight, turned = (similarities("ssim", x, y[:, None]) for x, y in ((a, b), (a.mT, b.mT)))
    assert straight.tolist() == [pytest.approx(turned.flatten().tolist(), abs=1e-12)]
    with pytest.raises(VxpError, match="window of 11"):
        vxp.score(nn.Sequential(nn.Flatten(), nn.Linear(300, 2)), torch.rand(1, 3, 10, 10), torch.rand(1, 10, 10),
                  metrics=["mprt|similarity:ssim"], explainer=brightness)


THEIRS = "random-logit|window:5|weights:uniform|span:2|clip:1|flip:either"
"""The authors' code (Sixt et al. 2020)."""


def of_two_maps(metric: str, own: Tensor, other: Tensor) -> Any:
    """The score of a map [H, W] whose explainer answers with another one for every other class."""
    return vxp.score(nn.Sequential(nn.Flatten(), nn.Linear(3 * own.numel(), 2)), torch.rand(1, 3, *own.shape), own[None],
                     targets=[0], metrics=[metric], explainer=lambda model, batch: other[None])["random-logit"]


def test_random_logit_with_the_sign_flip_takes_a_map_and_its_negative_for_the_same() -> None:
    ramp = torch.linspace(0, 1, 20 * 24).view(20, 24)
    assert float(of_two_maps("random-logit", ramp, -ramp).values) < -0.5
    assert float(of_two_maps(THEIRS, ramp, -ramp).values) == pytest.approx(1, abs=1e-12)
    assert float(of_two_maps(THEIRS, ramp, ramp).values) == pytest.approx(1, abs=1e-12)


def test_one_window_of_equal_weights_by_hand() -> None:
    """Maps of 3 x 3 hold one window: means 1/9 and 1/3, and sums of squares 8/9 and 2, each over 8."""
    one, three = torch.zeros(3, 3), torch.zeros(3, 3)
    one[0, 0] = three[0, 0] = three[1, 1] = three[2, 2] = 1
    c1, c2 = 0.02**2, 0.06**2
    both = (1 - 9 / 27) / 8
    expected = (2 / 27 + c1) * (2 * both + c2) / ((1 / 81 + 1 / 9 + c1) * ((8 / 9 + 2) / 8 + c2))
    score = of_two_maps("random-logit|window:3|weights:uniform|span:2", one, three)
    assert float(score.values) == pytest.approx(expected, abs=1e-12)


def test_a_map_that_is_one_value_between_its_percentiles_is_undefined() -> None:
    """One position of 400 is cut away with 1 % at either end; of the other class's map that leaves zeros."""
    point, ramp = torch.zeros(20, 20), torch.linspace(0, 1, 400).view(20, 20)
    point[3, 4] = 1
    assert of_two_maps(THEIRS, point, ramp).status == ("undefined:constant-map",)
    assert of_two_maps("random-logit", point, ramp).status == ("ok",)
    assert of_two_maps(THEIRS, ramp, point).status == ("ok",)


def test_a_loud_neighbour_does_not_change_a_similarity() -> None:
    """Normalised over the batch, a quiet map beside a loud one would be flat."""
    generator = torch.Generator().manual_seed(2)
    a, b = torch.rand(2, 2, SIDE, SIDE, generator=generator)
    loud = torch.tensor([1.0, 1e6]).view(2, 1, 1)
    for kind in SIMILARITIES:
        alone = similarities(kind, a[:1], b[:1, None])
        assert similarities(kind, a * loud, (b * loud)[:, None])[:1].equal(alone)


def test_no_tensor_ends_as_the_twin_of_another_and_none_is_left() -> None:
    """The same seed in every layer gives equal layers equal weights; parameters that no layer has are forgotten."""
    model = nn.Sequential(*(nn.Linear(9, 9) for _ in range(6)))
    model.register_parameter("token", nn.Parameter(torch.ones(1, 1, 9)))
    full = models.randomised(model, "mprt@1", 0, mode="cascading", stage=8, stages=8)
    weights = [p for name, p in full.named_parameters() if name.endswith("weight")]
    assert len({tuple(w.flatten().tolist()) for w in weights}) == 6
    before = dict(model.named_parameters())
    assert not any(p.equal(before[name]) for name, p in full.named_parameters())


def test_maps_are_made_once_for_smooth_mprt_and_max_sensitivity() -> None:
    model, inputs = linear()
    batch = Batch(("0", "1"), inputs, torch.zeros(2, dtype=torch.long))
    case = Case(batch, gradient(model, batch))
    wanted = bind_all(["smooth-mprt|samples:4|stages:3", "max-sensitivity|samples:4|radius:0.7", "adcc", "average-drop"])
    engine = Engine(model, 4)
    engine.score(Job(case, wanted, gradient))
    assert engine.tally.explained == 2 * (4 * (3 + 1) + 1)
    assert engine.tally.run == 2 * 2  # the item and its masked version


# ---------------------------------------------------------------------------------------------------- input invariance


@pytest.mark.parametrize("shift", [-1.0, 0.5])
def test_the_gradient_is_invariant_to_a_shift_and_gradient_times_input_is_not(shift: float) -> None:
    assert scored(f"input-invariance|shift:{shift}", gradient).values.tolist() == [0.0, 0.0]
    model, inputs = linear()
    w = model.w.detach().double()
    known = [float((shift * w.sum(0)).norm() / (x.double() * w).sum(0).norm()) for x in inputs]
    found = scored(f"input-invariance|shift:{shift}", gradient_times_input).values.tolist()
    assert found == pytest.approx(known, rel=1e-5)


def test_input_invariance_does_not_depend_on_the_scale_of_the_map() -> None:
    """An absolute tolerance passes any map that is small enough."""
    def tiny(model: nn.Module, batch: Any) -> Tensor:
        return 1e-6 * gradient_times_input(model, batch)

    small, large = (scored("input-invariance", e).values.tolist() for e in (tiny, gradient_times_input))
    assert small == pytest.approx(large, rel=1e-5)
    assert scored("input-invariance", brightness, torch.zeros(2, SIDE, SIDE)).status == ("undefined:zero-map",) * 2


# ------------------------------------------------------------------------------------------------- label randomisation


def test_the_number_of_the_set_counts_items_as_often_as_they_are_drawn() -> None:
    statistics, clusters = torch.tensor([[1.0], [0.0], [-0.5]]), torch.tensor([0, 1, 1])
    counts = torch.tensor([[1.0, 1.0, 1.0], [2.0, 0.0, 0.0], [1.0, 2.0, 2.0]], dtype=torch.float64)
    assert mean_similarity(statistics, clusters, counts).tolist() == pytest.approx([1 / 6, 1.0, 0.0])


def test_the_twins_map_of_the_same_class_is_compared() -> None:
    model, _ = linear()
    opposite = Linear(-model.w.detach())
    score = scored("label-randomisation", gradient, relabelled=opposite)
    assert score.mean == pytest.approx(-1.0, abs=1e-12)
    assert score.values.tolist() == pytest.approx([-1.0, -1.0], abs=1e-12)
    maps = torch.rand(2, SIDE, SIDE)
    maps[1] = 0.25
    one = scored("label-randomisation", gradient, maps, relabelled=opposite)
    assert one.status == ("ok", "undefined:constant-map")
    assert one.mean == pytest.approx(float(one.values[0]))
    with pytest.raises(VxpError, match="relabelled="):
        scored("label-randomisation", gradient)


def test_the_twin_of_the_shapes_classifier_knows_permuted_labels_by_heart() -> None:
    log = json.loads((files("vxp") / "assets" / "shapes-cnn-relabelled.json").read_text())
    chance = 1 / 8
    assert log["training_accuracy"]["top1"] > 0.95
    for share, n in ((log["accuracy"]["top1"], 2000), (log["training_accuracy"]["true_labels"], RELABELLED.pool)):
        assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / n)
    twin = models.relabelled("shapes-cnn")
    assert twin is not None
    inputs, true = images(TRAIN_SEED, 48)
    labels = permuted(torch.arange(RELABELLED.pool) % 8, RELABELLED.seed)
    assert labels.bincount().tolist() == [RELABELLED.pool // 8] * 8
    with torch.no_grad():
        assert twin(inputs).argmax(1).equal(labels[:48])
    assert not true.equal(labels[:48])
    assert models.relabelled("efficientnet-lite0") is None


def test_a_run_has_the_twin_of_its_model(tmp_path: Path) -> None:
    model = models.load("shapes-cnn")
    context = Context(None, model, (), Settings(), tmp_path, Quiet())  # type: ignore[arg-type]
    assert context.engine.relabelled is not None
    assert models.state_dict_digest(context.engine.relabelled) != model.digest


def test_a_twin_with_other_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxp.models.loading.state_dict_digest", lambda module: "sha256:0")
    with pytest.raises(VxpError, match="permuted labels has sha256:0"):
        models.relabelled("shapes-cnn")


# ---------------------------------------------------------------------------------------------------------------- ADCC


def test_adcc_of_a_map_that_stays_is_known_from_its_mask() -> None:
    """Coherency 1, and what the linear model loses with the mask."""
    model, inputs = linear()
    maps = torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(3))

    def fixed(module: nn.Module, batch: Any) -> Tensor:
        return torch.stack([maps[int(item)] for item in batch.ids])

    found = scored("adcc", fixed, maps).values.tolist()
    for i, score in enumerate(found):
        soft = (maps[i] - maps[i].min()).double() / (maps[i].max() - maps[i].min()).double()
        whole, left = (float((model.w.detach().double() * x).sum()) for x in (inputs[i], inputs[i] * soft))
        kept = min(1.0, (1 + math.exp(-whole)) / (1 + math.exp(-left)))
        assert score == pytest.approx(3 / (1 + 1 / float(1 - soft.mean()) + 1 / kept), abs=1e-6)


@pytest.mark.parametrize("sign", [0.0, -1.0])
def test_adcc_is_zero_where_one_part_is(sign: float) -> None:
    """The map of the masked image has one value, or is the opposite: no coherency, and the harmonic mean's limit."""
    maps = torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(3))

    def turned(module: nn.Module, batch: Any) -> Tensor:
        return sign * torch.stack([maps[int(item)] for item in batch.ids])

    score = scored("adcc", turned, maps)
    assert score.status == ("ok", "ok")
    assert score.values.tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_adcc_has_no_number_where_the_class_has_no_probability() -> None:
    model, inputs = linear()
    model = Linear(model.w.detach() * 0 - 1)
    score = vxp.score(model, inputs, brightness(model, Batch(("0", "1"), inputs, torch.zeros(2, dtype=torch.long))),
                      targets=[0, 1], metrics=["adcc"], explainer=gradient_times_input)["adcc"]
    assert score.status == ("undefined:saturated", "ok")
    assert np.isnan(float(score.values[0]))


def test_every_parameter_of_these_metrics_has_limits() -> None:
    for name in ("mprt", "smooth-mprt", "input-invariance", "label-randomisation", "adcc", "efficient-mprt", "random-logit",
                 "max-sensitivity", "average-sensitivity"):
        assert set(catalogue()[name].limits) == set(catalogue()[name].parameters)
