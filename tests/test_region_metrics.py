"""The metrics that remove regions, cells or squares: scores that are known exactly, and the faults of others."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import vxp
from oracles import philox, regions
from scipy.stats import rankdata, spearmanr
from torch import Tensor, nn
from vxp.core import Batch, Case, Outcome, VxpError
from vxp.engine import Engine, Job
from vxp.metrics import bind
from vxp.metrics._correlation import average_ranks, spearman
from vxp.metrics._regions import ranks, scaled_side, tiled, tiles


class Linear(nn.Module):
    """Logits offset + w.x and 0."""

    def __init__(self, w: Tensor, offset: float = 0.0) -> None:
        super().__init__()
        self.w = nn.Parameter(w)
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        total = self.offset + (x * self.w).flatten(1).sum(1)
        return torch.stack([total, torch.zeros_like(total)], 1)


def linear_case() -> tuple[Linear, Tensor, Tensor]:
    """A linear model, one 16x20 input of ones and the exact attribution w*x, summed over channels."""
    w = torch.randn(3, 16, 20, generator=torch.Generator().manual_seed(5)) / 8
    return Linear(w), torch.ones(1, 3, 16, 20), w.sum(0)[None]


def constant(p: float = 0.75) -> Linear:
    return Linear(torch.zeros(3, 16, 20), math.log(p / (1 - p)))


def logistic(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def value(name: str, model: nn.Module, inputs: Tensor, attribution: Tensor, seed: int = 0) -> float:
    score = vxp.score(model, inputs, attribution, targets=[0] * len(inputs), metrics=[name], seed=seed)[name]
    assert score.status == ("ok",) * len(inputs)
    return float(score.values[0])


def status(name: str, model: nn.Module, inputs: Tensor, attribution: Tensor) -> str:
    score = vxp.score(model, inputs, attribution, targets=[0] * len(inputs), metrics=[name])[name]
    assert math.isnan(float(score.values[0]))
    return score.status[0]


def case_of(attribution: Tensor) -> Case:
    B, H, W = attribution.shape
    batch = Batch(tuple(str(i) for i in range(B)), torch.rand(B, 3, H, W), torch.zeros(B, dtype=torch.long))
    return Case(batch, attribution)


def sums(exact: Tensor, parts: list[list[int]]) -> list[float]:
    flat = exact.double().flatten().tolist()
    return [math.fsum(flat[p] for p in part) for part in parts]


def left_over(contributions: list[float]) -> list[float]:
    """The logit of a linear model with nothing, the largest, the two largest, ... contributions removed."""
    ranked = sorted(contributions, reverse=True)
    return [math.fsum(ranked[k:]) for k in range(len(ranked) + 1)]


# ---------------------------------------------------------------------------------------------------- ranks, and regions


def test_ranks_and_spearman_are_scipys() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(0, 7, (4, 40), generator=generator).double()
    b = a + torch.randint(0, 9, (4, 40), generator=generator)
    assert np.array_equal(average_ranks(a).numpy(), rankdata(a.numpy(), axis=1))
    found, still = spearman(a, b)
    assert found.tolist() == pytest.approx([spearmanr(x, y)[0] for x, y in zip(a.numpy(), b.numpy(), strict=True)], abs=1e-12)
    assert not still.any()
    assert spearman(a, torch.ones_like(b))[1].all()


def test_spearman_sees_order_only() -> None:
    a = torch.randn(2, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert spearman(a, a.exp())[0].tolist() == pytest.approx([1, 1], abs=1e-12)
    assert spearman(a, -(a**3))[0].tolist() == pytest.approx([-1, -1], abs=1e-12)


@pytest.mark.parametrize(("at", "of", "size", "side"), [
    (9, 224, 224, 9), (9, 224, 112, 5), (9, 224, 227, 9), (9, 224, 24, 1), (9, 224, 3, 1), (4, 28, 28, 4), (4, 28, 224, 32),
    (4, 28, 24, 3), (10, 28, 28, 10), (10, 28, 224, 80), (10, 28, 1, 1),
])
def test_sides_scale_with_the_shorter_side(at: int, of: int, size: int, side: int) -> None:
    case = case_of(torch.zeros(1, size, size + 3))
    assert scaled_side(at, of, case) == regions.side(at, of, size, size + 3) == side


def test_an_image_of_224_has_625_tiles_of_9_of_which_the_last_are_cut() -> None:
    case = case_of(torch.rand(1, 224, 224))
    labels = tiles(9, case).view(224, 224)
    assert tiled(case, 9)[1] == 625 == int(labels.max()) + 1
    assert labels[0, 8] == 0
    assert labels[0, 9] == 1
    assert labels[9, 0] == 25
    assert [int((labels == k).sum()) for k in (0, 24, 624)] == [81, 72, 64]


def test_regions_rank_by_their_mean_not_their_sum() -> None:
    # tiles of 3 on 3 x 7: 9, 9 and 3 positions; the last has the smallest sum and the largest mean
    attribution = torch.zeros(2, 3, 7)
    attribution[0, :, :3], attribution[0, :, 3:6], attribution[0, :, 6:] = 1.0, 1.5, 2.0
    attribution[1] = torch.tensor([0.1]).expand(3, 7)  # all tie: by index
    labels = tiles(3, case_of(attribution)).expand(2, -1)
    found = ranks(case_of(attribution), labels).view(2, 3, 7)[:, 0, [0, 3, 6]]
    assert found.tolist() == [[2, 1, 0], [0, 1, 2]]


def test_an_item_with_fewer_regions_ranks_its_own() -> None:
    labels = torch.tensor([[0, 1, 2, 3], [0, 0, 1, 1]])
    attribution = torch.tensor([[[1.0, 4.0, 3.0, 2.0]], [[-5.0, -5.0, -1.0, -1.0]]])
    assert ranks(case_of(attribution), labels).tolist() == [[3, 0, 1, 2], [1, 1, 0, 0]]


# ----------------------------------------------------------------------------------------------------------- the curves


@pytest.mark.parametrize("count", [5, 320, 1000])
def test_aopc_of_a_linear_model(count: int) -> None:
    model, inputs, exact = linear_case()  # tiles of one pixel; mean 0 and std 1, so that black takes all with it
    curve = [logistic(z) for z in left_over(exact.double().flatten().tolist())][: count + 1]
    wanted = sum(curve[0] - p for p in curve) / len(curve)
    assert value(f"aopc|regions:{count}|fill:black", model, inputs, exact) == pytest.approx(wanted, abs=1e-6)
    assert value(f"aopc|regions:{count}|fill:black", model, inputs, -exact) < 0 < wanted


def test_aopc_of_the_paper_counts_the_step_at_which_nothing_is_removed() -> None:
    # one pixel is all that matters: p falls at the first of L steps and stays, so L of L + 1 terms are the fall
    w = torch.zeros(3, 16, 20)
    w[:, 4, 7] = 1.0
    found = value("aopc|regions:100|fill:black", Linear(w), torch.ones(1, 3, 16, 20), w.sum(0)[None])
    assert found == pytest.approx((logistic(3.0) - 0.5) * 100 / 101, abs=1e-6)


def test_selectivity_of_a_linear_model() -> None:
    model, inputs, exact = linear_case()  # patches of 2: 80 of 4 positions
    parts = regions.tiles(2, 16, 20)
    assert len(parts) == 80
    curve = [logistic(z) for z in left_over(sums(exact, parts))]
    wanted = sum((a + b) / 2 for a, b in pairwise(curve)) / 80
    assert value("selectivity", model, inputs, exact) == pytest.approx(wanted, abs=1e-6)
    assert value("selectivity", model, inputs, -exact) > wanted


@pytest.mark.parametrize(("name", "known"), [("aopc", 0.0), ("selectivity", 0.75)])
def test_curves_of_a_constant_model(name: str, known: float) -> None:
    attribution = torch.rand(1, 16, 20, generator=torch.Generator().manual_seed(3))
    assert value(name, constant(), torch.rand(1, 3, 16, 20), attribution) == pytest.approx(known, abs=1e-7)


def columns(batch: Batch, n: int) -> Tensor:
    """The item "0" in four columns, "one" in one piece, every other item in two halves."""
    across = torch.arange(20)
    cuts = {"0": across // 5, "one": across * 0}
    return torch.stack([cuts.get(item, across // 10).expand(16, 20) for item in batch.ids])


def irof(model: nn.Module, inputs: Tensor, attribution: Tensor, ids: str, parameters: str = "") -> Outcome:
    batch = Batch(tuple(ids.split()), inputs, torch.zeros(len(inputs), dtype=torch.long))
    wanted = bind("irof" + parameters)
    found = Engine(model, segment=columns).score(Job(Case(batch, attribution), (wanted,)))
    return found[wanted.signature]


def test_irof_of_a_linear_model_uses_each_items_own_segments() -> None:
    model, inputs, exact = linear_case()
    parts = [sums(exact, regions.segments(across.expand(16, 20).numpy())) for across in (torch.arange(20) // 5,
                                                                                       torch.arange(20) // 10)]
    wanted = []
    for contributions in parts:
        curve = [logistic(z) / logistic(sum(contributions)) for z in left_over(contributions)]
        wanted.append(1 - sum((a + b) / 2 for a, b in pairwise(curve)) / len(contributions))
    together = irof(model, inputs.expand(2, -1, -1, -1), exact.expand(2, -1, -1), "0 other", "|fill:black")
    assert together.values.tolist() == pytest.approx(wanted, abs=1e-6)
    assert float(irof(model, inputs, exact, "other", "|fill:black").values) == pytest.approx(wanted[1], abs=1e-6)


@pytest.mark.parametrize("fill", ["image-mean", "nli", "noise"])
def test_irof_of_an_item_does_not_depend_on_its_neighbours(fill: str) -> None:
    generator = torch.Generator().manual_seed(6)
    model, inputs = linear_case()[0], torch.rand(3, 3, 16, 20, generator=generator)
    maps = torch.rand(3, 16, 20, generator=generator)
    together = irof(model, inputs, maps, "2 0 1", f"|fill:{fill}").values.tolist()
    alone = [float(irof(model, inputs[i : i + 1], maps[i : i + 1], name, f"|fill:{fill}").values)
             for i, name in enumerate("201")]
    assert together == pytest.approx(alone, abs=1e-5)


def test_irof_fills_with_the_mean_of_the_image_itself() -> None:
    # a model of sums: with every pixel at its channel's mean nothing changes in sum, so all removed leaves p as it was
    model = Linear(torch.full((3, 16, 20), 1 / 64))
    inputs = torch.rand(1, 3, 16, 20, generator=torch.Generator().manual_seed(9))
    inputs[..., 10:] += 1  # the right half holds more
    attribution = torch.zeros(1, 16, 20)
    attribution[..., 10:] = 1.0
    flat = inputs[0].double().sum(0)
    mean = float(inputs.double().sum()) / 320
    logits = [float(flat.sum()) / 64, (float(flat[:, :10].sum()) + 160 * mean) / 64, float(flat.sum()) / 64]
    curve = [logistic(z) / logistic(logits[0]) for z in logits]
    wanted = 1 - (curve[0] / 2 + curve[1] + curve[2] / 2) / 2
    assert float(irof(model, inputs, attribution, "other").values) == pytest.approx(wanted, abs=1e-6)


def test_irof_of_a_map_without_effect_is_zero_and_not_one() -> None:
    attribution = torch.rand(1, 16, 20, generator=torch.Generator().manual_seed(3))
    assert float(irof(constant(), torch.rand(1, 3, 16, 20), attribution, "0").values) == pytest.approx(0, abs=1e-9)


def test_irof_is_undefined_without_two_segments_a_ranking_or_a_probability() -> None:
    attribution, inputs = torch.rand(1, 16, 20), torch.rand(1, 3, 16, 20)
    assert irof(constant(), inputs, attribution, "one").status == ("undefined:too-few-regions",)
    assert irof(constant(), inputs, torch.ones(1, 16, 20), "one").status == ("undefined:constant-map",)
    assert irof(constant(1e-13), inputs, attribution, "0").status == ("undefined:saturated",)


@pytest.mark.parametrize("name", ["aopc", "selectivity", "irof", "mu-fidelity|samples:9", "single-deletion"])
def test_a_constant_map_ranks_nothing(name: str) -> None:
    model, inputs, exact = linear_case()
    assert status(name, model, inputs, torch.full_like(exact, 0.3)) == "undefined:constant-map"


# ------------------------------------------------------------------------------------------------- cells and correlations


@pytest.mark.parametrize("name", ["mu-fidelity|samples:40", "mu-fidelity|samples:40|grid:4|percent:50", "single-deletion",
                                  "single-deletion|grid:7"])
def test_rank_correlations_of_a_linear_model(name: str) -> None:
    model, inputs, exact = linear_case()
    assert value(name, model, inputs, exact) == pytest.approx(1, abs=1e-9)
    assert value(name, model, inputs, 9 * exact) == pytest.approx(1, abs=1e-9)
    assert value(name, model, inputs, -exact) == pytest.approx(-1, abs=1e-9)
    assert status(name, constant(), inputs, exact) == "undefined:zero-variance"


def test_single_deletion_sees_the_order_of_cells_only() -> None:
    model, inputs, exact = linear_case()
    bent = torch.zeros_like(exact)
    for part in regions.cells(4, 16, 20):
        bent.view(-1)[part[3]] = math.exp(sums(exact, [part])[0])  # all of a cell's mass at one place
    assert value("single-deletion", model, inputs, bent) == pytest.approx(1, abs=1e-9)


def test_single_deletion_of_known_ranks() -> None:
    # drops 1 to 4 by cell, masses 2, 1, 4, 3: Spearman 1 - 6*4/(4*15)
    w, attribution = torch.zeros(3, 16, 20), torch.zeros(1, 16, 20)
    for cell, (drop, mass) in enumerate(zip((1.0, 2.0, 3.0, 4.0), (2.0, 1.0, 4.0, 3.0), strict=True)):
        y, x = cell // 2 * 8, cell % 2 * 10
        w[0, y, x], attribution[0, y, x] = drop, mass
    found = value("single-deletion|grid:2", Linear(w), torch.ones(1, 3, 16, 20), attribution)
    assert found == pytest.approx(0.6, abs=1e-12)


@pytest.mark.parametrize("name", ["single-deletion", "mu-fidelity|samples:12"])
def test_drops_that_are_rounding_do_not_rank(name: str) -> None:
    w = torch.rand(3, 16, 20, generator=torch.Generator().manual_seed(2)) * 1e-8
    inputs, attribution = torch.ones(1, 3, 16, 20), w.sum(0)[None]
    assert status(name, Linear(w, 10.0), inputs, attribution) == "undefined:zero-variance"
    assert value(name, Linear(w * 1e6, 10.0), inputs, attribution) == pytest.approx(1, abs=1e-9)


def test_another_seed_draws_other_cells_and_squares() -> None:
    model, inputs, _ = linear_case()
    rival = torch.randn(1, 16, 20, generator=torch.Generator().manual_seed(4))
    for name in ("mu-fidelity|samples:20", "infidelity|samples:20"):
        assert value(name, model, inputs, rival, seed=1) != value(name, model, inputs, rival, seed=2)


def test_a_grid_finer_than_the_image_is_refused() -> None:
    model, inputs, exact = linear_case()
    for name in ("mu-fidelity|samples:3|grid:17", "single-deletion|grid:17", "non-sensitivity|grid:17"):
        with pytest.raises(VxpError, match="grid of 17"):
            vxp.score(model, inputs, exact, targets=[0], metrics=[name])


# -------------------------------------------------------------------------------------------------------------- infidelity


def squares(item: str, samples: int, H: int = 16, W: int = 20) -> list[list[int]]:
    """The squares of infidelity for seed 0; sides 1 to 6 at 16 pixels."""
    found = []
    for draw in range(samples):
        u = philox.uniforms(philox.key(0, item, "infidelity@1", "square"), draw, 1)[:3, 0]
        side = 1 + int(u[0] * 6)
        top, left = int(u[1] * (H - side + 1)), int(u[2] * (W - side + 1))
        found.append([y * W + x for y in range(top, top + side) for x in range(left, left + side)])
    return found


@pytest.mark.parametrize("scale", [1.0, 10.0, -1.0])
def test_infidelity_of_the_exact_attribution_is_zero_at_any_scale(scale: float) -> None:
    model, inputs, exact = linear_case()
    assert value("infidelity|samples:30", model, inputs, scale * exact) == pytest.approx(0, abs=1e-10)


def test_infidelity_of_another_map_is_the_residual_of_the_best_line_through_the_origin() -> None:
    model, inputs, exact = linear_case()
    rival = torch.randn(1, 16, 20, generator=torch.Generator().manual_seed(4))
    parts = squares("0", 30)
    assert len({tuple(part) for part in parts}) > 25  # thirty draws, not one
    r, d = np.array(sums(rival, parts)), np.array(sums(exact, parts))
    wanted = np.mean(d**2) - np.mean(r * d) ** 2 / np.mean(r**2)
    assert value("infidelity|samples:30", model, inputs, rival) == pytest.approx(wanted, abs=1e-6)
    assert value("infidelity|samples:30", model, inputs, 10 * rival) == pytest.approx(wanted, abs=1e-6)
    assert status("infidelity|samples:30", model, inputs, 0 * rival) == "undefined:zero-map"
    assert value("infidelity|samples:30", constant(), inputs, rival) == pytest.approx(0, abs=1e-12)


# --------------------------------------------------------------------------------------------------------- non-sensitivity


def test_non_sensitivity_of_known_maps() -> None:
    model, inputs, exact = linear_case()
    assert value("non-sensitivity", model, inputs, exact) == 0
    assert value("non-sensitivity", model, inputs, torch.zeros_like(exact)) == 1  # every cell matters
    assert value("non-sensitivity", constant(), inputs, torch.ones_like(exact)) == 1  # no cell matters
    assert value("non-sensitivity", constant(), inputs, torch.zeros_like(exact)) == 0
    half = torch.ones(3, 16, 20)
    half[..., 10:] = 0  # the model looks at the left half
    left, right = half[:1], 1 - half[:1]
    found = [value("non-sensitivity", Linear(half), inputs, a) for a in (left, torch.ones_like(left), right, 0 * left)]
    assert found == [0, 0.5, 1, 0.5]


def test_non_sensitivity_takes_cells_below_the_tolerance_for_nothing() -> None:
    inputs = torch.ones(1, 3, 16, 20)
    uniform, almost = torch.ones(3, 16, 20), torch.ones(1, 16, 20)
    almost[:, :4, :5] = 0.02  # one cell of sixteen
    assert value("non-sensitivity", Linear(uniform), inputs, almost) == 0
    assert value("non-sensitivity|mass:0.05", Linear(uniform), inputs, almost) == 1 / 16
    assert value("non-sensitivity|mass:0.05|drop:1", Linear(uniform), inputs, almost) == 15 / 16
