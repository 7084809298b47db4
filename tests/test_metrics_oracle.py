"""Every metric against its oracle, and models and maps whose score is known exactly."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vxp
from oracles import SAMPLE, curves, fills, maps, philox, rise
from torch import Tensor, nn
from vxp.core import Batch, Case
from vxp.engine import Engine, Job
from vxp.kinds import HEATMAP2D
from vxp.metrics import bind, catalogue, of_kind

if TYPE_CHECKING:
    from conftest import Toy

QUICK: dict[str, Any] = {"steps": 13, "samples": 3}
"""Parameters under which a metric is cheap; 13 steps do not divide the 768 positions."""

KINDS = ("random", "native", "ties", "negative", "explained")


def cases() -> list[Any]:
    found = []
    for name, metric in of_kind(HEATMAP2D.id).items():
        quick = {key: value for key, value in QUICK.items() if key in metric.parameters}
        for variant in getattr(module_of(name), "VARIANTS", [{}]):
            wanted = bind((name, quick | variant))
            found.append(pytest.param(name, dict(wanted.parameters), id=wanted.signature))
    return found


def module_of(name: str) -> ModuleType:
    return import_module(f"oracles.{name.replace('-', '_')}")


def oracle_of(name: str) -> Callable[..., float]:
    oracle: Callable[..., float] = getattr(module_of(name), name.replace("-", "_"))
    return oracle


def expected(name: str, sample: dict[str, Any], parameters: dict[str, Any]) -> float | None:
    """The oracle's score of one sample; None where its definition divides by nothing."""
    oracle = oracle_of(name)
    needs = [p.name for p in inspect.signature(oracle).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    try:
        return oracle(*[sample[need] for need in needs], **parameters)
    except ZeroDivisionError:
        return None


@pytest.mark.parametrize("name", catalogue())
def test_every_metric_has_an_oracle_with_the_same_parameters(name: str) -> None:
    by_kind: dict[Any, list[str]] = {}
    for parameter in inspect.signature(oracle_of(name)).parameters.values():
        by_kind.setdefault(parameter.kind, []).append(parameter.name)
    assert by_kind.get(inspect.Parameter.KEYWORD_ONLY, []) == list(catalogue()[name].parameters)
    known = set(SAMPLE) if catalogue()[name].level == "sample" else {"samples", "clusters"}
    assert set(by_kind[inspect.Parameter.POSITIONAL_OR_KEYWORD]) <= known


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "parameters"), cases())
def test_metric_equals_its_oracle(toy: Toy, name: str, parameters: dict[str, Any], kind: str) -> None:
    keys = catalogue()[name].truth
    score = vxp.score(toy.model, toy.inputs, toy.maps[kind], metrics=[(name, parameters)], **toy.arguments())[name]
    tolerance = max(getattr(module_of(name), "TOLERANCE", 1e-6), 1e-4 if parameters.get("fill") == "nli" else 0)
    if catalogue()[name].level == "set":
        samples = [toy.sample(kind, i, keys[0] if keys else None) for i in range(len(toy.inputs))]
        wanted = oracle_of(name)(samples, toy.clusters, **parameters)
        assert score.mean == pytest.approx(wanted, rel=0, abs=tolerance)
        return
    for i in range(len(toy.inputs)):
        value = expected(name, toy.sample(kind, i, keys[0] if keys else None), parameters)
        if value is None:
            assert score.status[i].startswith("undefined:")
            assert math.isnan(score.values[i])
        else:
            assert score.status[i] == "ok"
            assert float(score.values[i]) == pytest.approx(value, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("alias", ["morf", "lerf"])
def test_aliases_are_the_curves_of_deletion_and_insertion(toy: Toy, alias: str) -> None:
    name = {"morf": "deletion", "lerf": "insertion"}[alias]
    scores = vxp.score(toy.model, toy.inputs, toy.maps["random"], metrics=[f"{alias}|steps:13"], **toy.arguments())
    assert list(scores) == [f"{name}@1|steps:13|fill:mean"]
    sample = toy.sample("random", 0, None)
    assert float(scores[alias + "|steps:13"].values[0]) == pytest.approx(
        expected(name, sample, {"steps": 13, "fill": "mean"}), abs=1e-6)


def test_the_default_parameters_are_those_of_the_protocol() -> None:
    masked = "keep:100|mask:soft|fill:black|ties:index"
    ssim = "window:11|sigma:1.5|weights:gaussian|span:1.0|clip:0.0|flip:none"
    assert {name: bind(name).signature for name in CORE} == {
        "deletion": "deletion@1|steps:224|fill:mean", "insertion": "insertion@1|steps:224|fill:blur",
        "srg": "srg@1|steps:224|fill:mean", "average-drop": f"average-drop@2|{masked}",
        "increase-in-confidence": f"increase-in-confidence@2|{masked}", "average-gain": f"average-gain@2|{masked}",
        "road-morf": "road-morf@1|readout:probability", "road-lerf": "road-lerf@1|readout:probability",
        "efficient-mprt": "efficient-mprt@1|bins:100", "random-logit": f"random-logit@2|{ssim}",
        "max-sensitivity": "max-sensitivity@1|samples:50|radius:0.2", "entropy": "entropy@1", "gini": "gini@1",
        "pointing-game": "pointing-game@1|tolerance:15.0", "energy-pointing-game": "energy-pointing-game@1",
        "grid-pointing-game": "grid-pointing-game@1", "relevance-rank": "relevance-rank@1",
    }


CORE = (
    "deletion", "insertion", "srg", "average-drop", "increase-in-confidence", "average-gain", "road-morf", "road-lerf",
    "efficient-mprt", "random-logit", "max-sensitivity", "entropy", "gini", "pointing-game", "energy-pointing-game",
    "grid-pointing-game", "relevance-rank",
)


# ----------------------------------------------------------------------------------------------- the oracles' own tools


def test_philox_gives_the_published_vectors() -> None:
    # kat_vectors of Random123 1.14, philox4x32 with 10 rounds
    assert philox.block((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones = 0xFFFFFFFF
    assert philox.block((ones, ones, ones, ones), (ones, ones)) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    together = philox.words((0, 0), 0, 3)
    assert together.T.tolist() == [list(philox.block((position, 0, 0, 0), (0, 0))) for position in range(3)]
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert philox.block(pi, (0xA4093822, 0x299F31D0)) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


def test_the_oracles_resampling_is_exact_on_a_ramp() -> None:
    # a ramp stays a ramp between the first and the last centre, and is flat beyond them
    ramp = np.arange(4, dtype=np.float32)[None].repeat(2, 0)
    assert maps.bilinear(ramp, (4, 8))[0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]


@pytest.mark.parametrize("space", [(24, 32), (5, 7), (3, 3)])
def test_evaluation_maps_are_resampled_as_the_rule_says(space: tuple[int, int]) -> None:
    """Ratios that are no power of two, up and down: the same to the last bit (5.3.2)."""
    native = torch.randn(1, 7, 6, generator=torch.Generator().manual_seed(0))
    ours = HEATMAP2D.resampled(native, space, "bilinear")[0].numpy()
    assert np.array_equal(ours, maps.bilinear(native[0].numpy(), space))
    theirs = torch.nn.functional.interpolate(native[:, None].double(), size=space, mode="bilinear", align_corners=False)
    assert np.abs(ours - theirs[0, 0].numpy()).max() < 1e-6
    nearest = HEATMAP2D.resampled(native, space, "nearest")[0]
    for y, x in np.ndindex(*space):  # the pixel in which the centre lies
        assert nearest[y, x] == native[0, int((y + 0.5) * 7 / space[0]), int((x + 0.5) * 6 / space[1])]


@pytest.mark.parametrize("rows", [1, 2])
def test_equal_neighbours_give_their_value_to_the_last_bit(rows: int) -> None:
    """A plateau is one value, whose order is that of the positions (5.3.2)."""
    native = torch.tensor([[0.9438014030456543, 0.12681710720062256]]).repeat(rows, 1)
    for space in ((3, 4), (5, 9), (224, 224)):
        for found in (HEATMAP2D.resampled(native[None], space, "bilinear")[0].numpy(), maps.bilinear(native.numpy(), space)):
            assert (found == found[0]).all()


def test_the_worked_map_value_of_the_text() -> None:
    native = torch.tensor([[0.0, 1, 3], [2, 5, 4]])
    assert HEATMAP2D.resampled(native[None], (4, 5), "bilinear")[0, 1, 3] == np.float32(2.75)
    assert maps.bilinear(native.numpy(), (4, 5))[1, 3] == np.float32(2.75)
    assert "e = 2.2 + 0.25·2.2 = 2.75" in (Path(__file__).parents[1] / "spec" / "05-common.md").read_text()


def test_blur_of_a_larger_image_has_the_radius_of_its_shorter_side() -> None:
    inputs = torch.rand(1, 1, 112, 115, generator=torch.Generator().manual_seed(0))
    batch = vxp.Batch(("0",), inputs, torch.tensor([0]), vxp.Normalization((0.4,), (0.2,)))
    slow = fills.fill("blur", inputs[0].double().numpy(), [0.4], [0.2], 0, "0")
    assert np.abs(batch.fill_image("blur")[0].numpy() - slow).max() < 1e-5


def test_the_oracles_imputation_keeps_a_plane_in_the_middle() -> None:
    # the mean of the eight neighbours of a plane is the plane, away from the border
    plane = np.add.outer(0.1 * np.arange(7.0), 0.03 * np.arange(9.0))[None]
    inside = [y * 9 + x for y in range(2, 5) for x in range(2, 7)]
    broken = plane.copy()
    for place in inside:
        broken[0, place // 9, place % 9] = 99.0
    assert np.abs(fills.linear_imputation(broken, inside) - plane).max() < 1e-12


# -------------------------------------------------------------------------------------------------- exact-answer models


class Constant(nn.Module):
    """The same logits for every input."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


class Linear(nn.Module):
    """Logits w.x and 0: the target's probability is the logistic function of w.x."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: Tensor) -> Tensor:
        total = (x * self.w).flatten(1).sum(1)
        return torch.stack([total, torch.zeros_like(total)], 1)


def logistic(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def linear_case() -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model, one 16x20 input of ones and the exact attribution w*x, summed over channels."""
    generator = torch.Generator().manual_seed(5)
    w = torch.randn(3, 16, 20, generator=generator) / 8
    return Linear(w), torch.ones(1, 3, 16, 20), w.sum(0)[None]


def area_of(values: list[float]) -> float:
    return sum((a + b) / 2 for a, b in pairwise(values)) / (len(values) - 1)


@pytest.mark.parametrize("steps", [320, 32, 5])
def test_linear_model_has_the_curves_of_its_sorted_contributions(steps: int) -> None:
    model, inputs, exact = linear_case()
    ranked = sorted(exact.double().flatten().tolist(), reverse=True)
    size = len(ranked) // steps
    left = [logistic(sum(ranked[s * size :])) for s in range(steps + 1)]
    shown = [logistic(sum(ranked[: s * size])) for s in range(steps + 1)]
    wanted = [f"{name}|steps:{steps}" for name in ("morf", "lerf", "srg")]
    scores = vxp.score(model, inputs, exact, targets=[0], metrics=wanted)
    # mean 0 and std 1: the fill is zero, and what is removed takes exactly its contribution with it
    assert float(scores[wanted[0]].values) == pytest.approx(area_of(left), abs=1e-6)
    assert float(scores[wanted[1]].values) == pytest.approx(area_of(shown), abs=1e-6)
    assert float(scores[wanted[2]].values) == pytest.approx(area_of(shown) - area_of(left), abs=1e-6)


def test_no_order_beats_the_exact_attribution_of_a_linear_model() -> None:
    model, inputs, exact = linear_case()
    rivals = torch.randn(20, 16, 20, generator=torch.Generator().manual_seed(1))
    everyone = torch.cat([exact, -exact, rivals])
    scores = vxp.score(model, inputs.expand(22, -1, -1, -1), everyone, targets=[0] * 22,
                       metrics=["deletion|steps:64", "srg|steps:64"])
    assert int(scores["deletion"].values.argmin()) == 0
    assert int(scores["deletion"].values.argmax()) == 1
    assert int(scores["srg"].values.argmax()) == 0
    assert float(scores["srg"].values[1]) == pytest.approx(-float(scores["srg"].values[0]), abs=1e-6)


def test_linear_model_masked() -> None:
    model, inputs, exact = linear_case()
    inputs, exact = inputs * 0.5, exact * 0.5
    soft = (exact - exact.min()) / (exact.max() - exact.min())
    before, after = logistic(float(exact.double().sum())), logistic(float((exact * soft).double().sum()))
    assert after > before  # the mask weighs what speaks for the class
    names = ("average-drop", "increase-in-confidence", "average-gain")
    scores = vxp.score(model, inputs, exact, targets=[0], metrics=names)
    assert [float(scores[n].values) for n in names] == pytest.approx([0, 1, (after - before) / (1 - before)], abs=1e-6)
    against = vxp.score(model, inputs, -exact, targets=[0], metrics=names)
    turned = logistic(float((exact * (1 - soft)).double().sum()))
    assert [float(against[n].values) for n in names] == pytest.approx([(before - turned) / before, 0, 0], abs=1e-6)


@pytest.mark.parametrize("name", ["faithfulness-correlation|samples:9", "sensitivity-n|samples:9|sizes:5"])
def test_random_subsets_of_a_linear_model_lose_what_its_attribution_says(name: str) -> None:
    """1 for every item alone: correlated over a batch, or over cumulated deletions, it would be less."""
    model, inputs, exact = linear_case()
    inputs = torch.cat([inputs, 2 * inputs, -inputs])
    scores = vxp.score(model, inputs, torch.cat([exact, 2 * exact, -exact]), targets=[0, 0, 0], metrics=[name])[name]
    assert scores.values.tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    turned = vxp.score(model, inputs, -torch.cat([exact, 2 * exact, -exact]), targets=[0, 0, 0], metrics=[name])[name]
    assert turned.values.tolist() == pytest.approx([-1, -1, -1], abs=1e-6)
    still = vxp.score(Constant([1.0, 0.0]), inputs, torch.cat([exact] * 3), metrics=[name])[name]
    assert still.status == ("undefined:zero-variance",) * 3


def test_pixel_flipping_of_a_linear_model_and_of_a_constant_one() -> None:
    model, inputs, exact = linear_case()
    ranked = sorted(exact.double().flatten().tolist(), reverse=True)
    left = [sum(ranked[10 * s :]) for s in range(33)]
    score = vxp.score(model, inputs, exact, targets=[0], metrics=["pixel-flipping|steps:32"])["pixel-flipping|steps:32"]
    assert float(score.values) == pytest.approx(area_of(left), abs=1e-5)
    flat = vxp.score(Constant([2.5, 0.0]), inputs, exact, metrics=["pixel-flipping|steps:32"])["pixel-flipping|steps:32"]
    assert float(flat.values) == pytest.approx(2.5, abs=1e-7)


@pytest.mark.parametrize("name", [n for n in CORE if catalogue()[n].family == "faithfulness"])
def test_constant_model(name: str) -> None:
    p = 0.75  # logits ln 3 and 0
    model = Constant([math.log(3.0), 0.0])
    inputs, attributions = torch.rand(2, 3, 16, 20), torch.rand(2, 16, 20)
    score = vxp.score(model, inputs, attributions, metrics=[name])[name]
    known = {"srg": 0.0, "average-drop": 0.0, "increase-in-confidence": 0.0, "average-gain": 0.0}
    assert score.status == ("ok", "ok")
    assert score.values.tolist() == pytest.approx([known.get(name, p)] * 2, abs=1e-7)
    assert score.mean == pytest.approx(known.get(name, p), abs=1e-7)


@pytest.mark.parametrize("steps", [7, 224])
def test_a_constant_curve_of_one_scores_exactly_one(steps: int) -> None:
    model = Constant([100.0, 0.0])
    metrics = [f"deletion|steps:{steps}", f"insertion|steps:{steps}", "average-gain", "average-drop"]
    scores = vxp.score(model, torch.rand(1, 3, 24, 32), torch.rand(1, 24, 32), targets=[0], metrics=metrics)
    assert float(scores["deletion"].values) == 1.0
    assert float(scores["insertion"].values) == 1.0
    assert scores["average-gain"].status == ("undefined:saturated",)  # nothing left to gain
    assert float(scores["average-drop"].values) == 0.0
    other = vxp.score(model, torch.rand(1, 3, 24, 32), torch.rand(1, 24, 32), targets=[1], metrics=["average-drop"])
    assert other["average-drop"].status == ("undefined:saturated",)  # nothing to lose


# ----------------------------------------------------------------------------------------------------------- known maps


def planted(H: int = 20, W: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    """An input, a mask of 5 x 6 positions, and a map that is 1 on the mask and 0 elsewhere."""
    mask = torch.zeros(1, H, W, dtype=torch.bool)
    mask[0, 2:7, 3:9] = True
    return torch.rand(1, 3, H, W), mask, mask.float()


def test_planted_mask() -> None:
    inputs, mask, truth_map = planted()
    names = ("pointing-game", "energy-pointing-game", "relevance-rank")
    hit = vxp.score(Constant([0.0, 1.0]), inputs, truth_map, truth=mask, metrics=names)
    assert [float(hit[n].values) for n in names] == [1.0, 1.0, 1.0]
    miss = vxp.score(Constant([0.0, 1.0]), inputs, torch.flip(truth_map, [1, 2]), truth=mask, metrics=names)
    assert [float(miss[n].values) for n in names] == [0.0, 0.0, 0.0]


def test_ranking_measures_of_a_planted_mask() -> None:
    inputs, mask, truth_map = planted()
    names = ("mask-auc", "mask-average-precision", "top-k-intersection|k:2000", "attribution-localisation|weighting:size")
    model = Constant([0.0, 1.0])
    hit = vxp.score(model, inputs, truth_map, truth=mask, metrics=names)
    # 19 of the 480 positions are the top 2000 of 50176; the mask has 30
    assert [float(hit[n].values) for n in names] == pytest.approx([1, 1, 1, 480 / 30], abs=1e-12)
    miss = vxp.score(model, inputs, -truth_map, truth=mask, metrics=names)
    precision = sum(hits / (450 + hits) for hits in range(1, 31)) / 30
    assert [float(miss[n].values) for n in names[:3]] == pytest.approx([0, precision, 0], abs=1e-12)
    assert miss[names[3]].status == ("undefined:no-positive-mass",)
    half = truth_map.clone()
    half[0, 2:7, 6:9] = 0  # 15 of the 30 tie with the ground
    assert float(vxp.score(model, inputs, half, truth=mask, metrics=["mask-auc"])["mask-auc"].values) == pytest.approx(0.75)
    full = vxp.score(model, inputs, truth_map, truth=torch.ones_like(mask), metrics=names)
    assert full["mask-auc"].status == ("undefined:full-truth",)
    assert [float(full[n].values) for n in names[1:]] == pytest.approx([1, 1, 1], abs=1e-12)


def test_shares_of_a_planted_mask() -> None:
    inputs, mask, _ = planted()
    attribution = torch.zeros(1, 20, 24)
    attribution[0, 2:7, 3:6] = 3.0  # 15 of the 30 positions of the mask
    attribution[0, 10:13, 10:15] = 2.0  # 15 positions elsewhere
    attribution[0, 15, :] = -9.0  # evidence against is no mass
    truth = {"mask": mask, "cells": mask}
    names = ("energy-pointing-game", "grid-pointing-game", "relevance-rank")
    scores = vxp.score(Constant([0.0, 1.0]), inputs, attribution, truth=truth, metrics=names)
    assert [float(scores[n].values) for n in names] == [45 / 75, 45 / 75, 15 / 30]


def test_uniform_map_scores_the_share_of_the_truth() -> None:
    inputs, mask, _ = planted()
    scores = vxp.score(Constant([0.0, 1.0]), inputs, torch.full((1, 20, 24), 0.3), truth=mask,
                       metrics=["energy-pointing-game", "pointing-game", "relevance-rank"])
    assert float(scores["energy-pointing-game"].values) == pytest.approx(30 / 480, abs=1e-12)
    assert scores["pointing-game"].status == scores["relevance-rank"].status == ("undefined:constant-map",)


@pytest.mark.parametrize(("distance", "hit"), [(0, 1.0), (14, 1.0), (15, 0.0), (16, 0.0)])
def test_pointing_tolerance_is_a_strict_disc_of_15_pixels_at_224(distance: int, hit: float) -> None:
    mask = torch.zeros(1, 224, 230, dtype=torch.bool)
    mask[0, 50, 60] = True
    attribution = torch.zeros(1, 224, 230)
    attribution[0, 50, 60 + distance] = 1.0
    inputs = torch.rand(1, 3, 224, 230)
    score = vxp.score(Constant([0.0, 1.0]), inputs, attribution, truth=mask, metrics=["pointing-game"])
    assert float(score["pointing-game"].values) == hit


def test_entropy_and_gini_of_known_maps() -> None:
    P = 16 * 20
    uniform, single, ramp = torch.full((16, 20), -0.7), torch.zeros(16, 20), torch.arange(1.0, P + 1).view(16, 20)
    single[3, 4] = -2.0
    halves = torch.zeros(16, 20)
    halves[:8] = 1.0
    attributions = torch.stack([uniform, single, halves, ramp])
    scores = vxp.score(Constant([0.0, 1.0]), torch.rand(4, 3, 16, 20), attributions, metrics=["entropy", "gini"])
    # of the ramp: sum_k k*(P - k + 1/2) = P*(P + 1)*(2P + 1)/12 and sum_k k = P*(P + 1)/2
    ramp_gini = 1 - (2 * P + 1) / (3 * P)
    assert scores["gini"].values.tolist() == pytest.approx([0, 1 - 1 / P, 0.5, ramp_gini], abs=1e-12)
    assert scores["entropy"].values[:3].tolist() == pytest.approx([math.log(P), 0, math.log(P / 2)], abs=1e-12)


def test_sanity_and_robustness_of_known_explainers() -> None:
    generator = torch.Generator().manual_seed(2)
    fixed = torch.rand(1, 24, 32, generator=generator)
    model, inputs = Constant([0.0, 1.0, 2.0]), torch.rand(2, 3, 24, 32, generator=generator)
    names = ("efficient-mprt", "random-logit", "max-sensitivity|samples:3")

    def blind(model: nn.Module, batch: Any) -> Tensor:
        return fixed.expand(len(batch.inputs), -1, -1)

    scores = vxp.score(model, inputs, fixed.expand(2, -1, -1), metrics=names, explainer=blind)
    # a map that looks at nothing: randomising changes nothing, all classes are alike, noise does not matter
    assert scores["efficient-mprt"].values.tolist() == [0.0, 0.0]
    assert scores["random-logit"].values.tolist() == pytest.approx([1.0, 1.0], abs=1e-12)
    assert scores["max-sensitivity"].values.tolist() == [0.0, 0.0]


def test_random_logit_of_opposite_maps_is_negative() -> None:
    ramp = torch.rand(24, 32, generator=torch.Generator().manual_seed(4))

    def opposed(model: nn.Module, batch: Any) -> Tensor:
        return torch.stack([ramp if t == 0 else -ramp for t in batch.targets.tolist()])

    score = vxp.score(Constant([1.0, 0.0]), torch.rand(1, 3, 24, 32), ramp[None], targets=[0], metrics=["random-logit"],
                      explainer=opposed)["random-logit"]
    assert -1 <= float(score.values) < -0.5


def test_max_sensitivity_of_the_identity_is_the_largest_noise() -> None:
    inputs = torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(8))

    def first_channel(model: nn.Module, batch: Any) -> Tensor:
        channel: Tensor = batch.inputs[:, 0]
        return channel

    score = vxp.score(Constant([1.0, 0.0]), inputs, inputs[:, 0], metrics=["max-sensitivity|samples:4|radius:0.5"],
                      explainer=first_channel, seed=9)["max-sensitivity"]
    for i in range(2):
        key = philox.key(9, str(i), "max-sensitivity@1", "noise")
        noise = [0.5 * (2 * philox.uniforms(key, draw, 320)[0] - 1) for draw in range(4)]
        largest = max(float(np.linalg.norm(d)) for d in noise) / float(inputs[i, 0].double().norm())
        assert float(score.values[i]) == pytest.approx(largest, abs=1e-6)


# --------------------------------------------------------------------------------------------- where nothing is defined


@pytest.mark.parametrize("name", CORE)
def test_declared_codes_are_the_statuses(toy: Toy, name: str) -> None:
    metric = catalogue()[name]
    attributions = torch.stack([torch.zeros(24, 32), torch.full((24, 32), 0.5), toy.maps["random"][0]])
    quick = {key: value for key, value in QUICK.items() if key in metric.parameters}
    empty = {key: torch.zeros(3, 24, 32, dtype=torch.bool) for key in ("mask", "cells")}
    arguments = toy.arguments() | {"truth": empty}
    score = vxp.score(toy.model, toy.inputs, attributions, metrics=[(name, quick)], **arguments)[name]
    found = [s.removeprefix("undefined:") for s in score.status]
    zero = next((c for c in ("constant-map", "zero-map", "empty-truth") if c in metric.undefined), "ok")
    constant = next((c for c in ("constant-map", "empty-truth") if c in metric.undefined), "ok")
    assert found == [zero, constant, "empty-truth" if "empty-truth" in metric.undefined else "ok"]
    assert [v != v for v in score.values.tolist()] == [s != "ok" for s in score.status]


def test_a_model_with_one_class_has_no_other_logit() -> None:
    inputs = torch.rand(1, 3, 24, 32)
    wanted = bind("random-logit")
    # `vxp.score` refuses such a model; a result of another's may have it
    case = Case(Batch(("0",), inputs, torch.zeros(1, dtype=torch.long)), inputs[:, 0])
    job = Job(case, (wanted,), lambda model, batch: batch.inputs[:, 0])
    assert Engine(Constant([0.3])).score(job)[wanted.signature].status == ("undefined:single-class",)


# --------------------------------------------------------------------------------- RISE's published deletion, insertion


@pytest.mark.parametrize("kind", ["random", "negative"])
@pytest.mark.parametrize(("mode", "ours", "substrate"), [
    ("del", "deletion|steps:{}|fill:mean", "mean"), ("ins", "insertion|steps:{}|fill:rise-blur", "rise-blur"),
])
@pytest.mark.parametrize("step", [24, 96, 768])
def test_equal_steps_give_the_area_that_rise_publishes(
    toy: Toy, mode: str, ours: str, substrate: str, step: int, kind: str
) -> None:
    """RISE's script takes a step in pixels, we take a number of steps: S = P/step where that divides.

    Its substrates are zeros of the normalised image (our fill `mean`) and its own blur. These maps have no ties.
    """
    wanted = ours.format(768 // step)
    score = vxp.score(toy.model, toy.inputs, toy.maps[kind], metrics=[wanted], **toy.arguments())[wanted]
    for i in range(3):
        sample = toy.sample(kind, i, None)
        image, target = sample["image"], sample["target"]
        other = fills.fill(substrate, image, sample["mean"], sample["std"], sample["seed"], sample["item"])
        read = partial(curves.probability, sample["model"], target=target)
        curve = rise.rise_curve(read, image, sample["attribution"], other, mode=mode, step=step)
        assert len(curve) == 768 // step + 1
        assert float(score.values[i]) == pytest.approx(rise.rise_area(curve), abs=1e-6)


@pytest.mark.parametrize("step", [300, 100, 7])
def test_any_step_of_rise_can_be_read_off_our_finest_curve(step: int) -> None:
    """Where the step does not divide, RISE weighs its short last step like a whole one; our x is the true fraction.

    So its number is not one of ours, but it follows from our curve of one position per step: read it every `step`
    positions and at its end, and weigh all intervals alike.
    """
    model, inputs, exact = linear_case()
    weights = model.get_parameter("w").detach().double().numpy()
    curve = rise.rise_curve(lambda x: logistic(float((x * weights).sum())), inputs[0].double().numpy(),
                            exact[0].numpy(), np.zeros((3, 16, 20)), mode="del", step=step)
    score = vxp.score(model, inputs, exact, targets=[0], metrics=["deletion|steps:320"])["deletion"]
    assert score.curve is not None
    assert list(score.x) == [k / 320 for k in range(321)]
    places = [*range(0, 320, step), 320]
    ours = score.curve[0, places].tolist()
    assert rise.rise_area(ours) == pytest.approx(rise.rise_area(curve), abs=1e-6)
    assert abs(curves.area(ours, places, 320) - rise.rise_area(curve)) > 1e-4
