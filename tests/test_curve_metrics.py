"""Monotonicity, faithfulness estimate, information curves, completeness, effective complexity, IoU at area and focus: models
and maps whose score is known, and the faults of public code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import vxp
from oracles import delaunay
from torch import Tensor, nn
from vxp.core import Batch, Case, VxpError
from vxp.core.perturb import levels
from vxp.imputation.interpolation import interpolated
from vxp.metrics._pic import SHOWN, area, relevant, residuals, under

H, W = 16, 20


class Linear(nn.Module):
    """Logits w.x and 0."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: Tensor) -> Tensor:
        total = (x * self.w).flatten(1).sum(1)
        return torch.stack([total, torch.zeros_like(total)], 1)


class Constant(nn.Module):
    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


def linear_case() -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model, an input of ones and its exact attribution; the fill `mean` is zero."""
    w = torch.randn(3, H, W, generator=torch.Generator().manual_seed(5)) / 8
    return Linear(w), torch.ones(1, 3, H, W), w.sum(0)[None]


def one(model: nn.Module, inputs: Tensor, maps: Tensor, metric: str, **arguments: Any) -> vxp.Score:
    scores = vxp.score(model, inputs, maps, targets=[0] * len(maps), metrics=[metric], **arguments)
    return scores[next(iter(scores))]


# --------------------------------------------------------------------------------------------------------- monotonicity


def test_positive_contributions_in_any_order_are_monotone_and_one_against_is_not() -> None:
    model, inputs, exact = linear_case()
    positive = Linear(model.w.abs() / 8)  # type: ignore[operator, union-attr]
    anything = torch.rand(1, H, W, generator=torch.Generator().manual_seed(1))
    assert one(positive, inputs, anything, "monotonicity|steps:64").values.tolist() == [1.0]
    # least relevant first: what speaks against the class comes first, and the probability falls
    assert one(model, inputs, exact, "monotonicity|steps:64").values.tolist() == [0.0]


def test_the_share_of_steps_is_that_of_groups_with_a_contribution_that_is_not_negative() -> None:
    whole, inputs, exact = linear_case()
    model = Linear(whole.w / 20)  # type: ignore[operator]  # so that no step is lost in a tail of the logistic function
    rising = sorted(exact.double().flatten().tolist())
    groups = [sum(rising[a : a + 10]) for a in range(0, 320, 10)]
    score = one(model, inputs, exact, "monotonicity|steps:32|score:share")
    assert score.values.tolist() == [sum(g >= 0 for g in groups) / 32]
    assert score.x[0] == 0
    assert score.x[-1] == 1
    assert score.curve is not None
    assert float(score.curve[0, 0]) == pytest.approx(0.5)


def test_monotonicity_tells_explanations_apart() -> None:
    """Where a baseline is perturbed with the baseline every explanation is monotone."""
    model, inputs, exact = linear_case()
    maps = torch.cat([exact, -exact, torch.randn(3, H, W, generator=torch.Generator().manual_seed(2))])
    score = one(model, inputs.expand(5, -1, -1, -1), maps, "monotonicity|steps:32|score:share")
    assert len(set(score.values.tolist())) > 2


def test_a_model_that_answers_everything_alike_is_monotone() -> None:
    _, inputs, exact = linear_case()
    assert one(Constant(0.3, 0.1), inputs, exact, "monotonicity").values.tolist() == [1.0]


# ------------------------------------------------------------------------------------------------- faithfulness estimate


def test_faithfulness_estimate_of_a_linear_model_is_exact_and_of_a_constant_one_undefined() -> None:
    model, inputs, exact = linear_case()
    maps = torch.cat([exact, -exact, 3 * exact])
    score = one(model, inputs.expand(3, -1, -1, -1), maps, "faithfulness-estimate|steps:40|readout:logit")
    assert score.values.tolist() == pytest.approx([1, -1, 1], abs=1e-6)
    small = Linear(model.w / 1000)  # type: ignore[operator]  # where the logistic function is straight
    score = one(small, inputs.expand(3, -1, -1, -1), maps, "faithfulness-estimate|steps:40")
    assert score.values.tolist() == pytest.approx([1, -1, 1], abs=1e-3)
    assert one(Constant(1.0, 0.0), inputs, exact, "faithfulness-estimate").status == ("undefined:zero-variance",)


# ----------------------------------------------------------------------------------------------------- information curves


def test_information_by_hand() -> None:
    flat = torch.zeros(1, 1, 2, 2)
    assert float(residuals(levels(flat))[0]) == 0
    # residuals 51, 51, 51, 51: row one 51, 102; row two 102 (51 more than above), 153
    ramp = torch.tensor([[[[0.2, 0.4], [0.4, 0.6]]]], dtype=torch.float64)
    assert float(residuals(levels(ramp))[0]) == pytest.approx(0)
    # residuals 0, 255, 0, 0 (modulo 256): shares 3/4 and 1/4
    step = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]], dtype=torch.float64)
    assert float(residuals(levels(step))[0]) == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)))


def test_area_under_the_running_maximum_in_order_of_information() -> None:
    x = torch.tensor([[0.0, 0.5, 0.25, 1.0]], dtype=torch.float64)
    y = torch.tensor([[0.0, 0.2, 0.8, 0.4]], dtype=torch.float64)
    area, best, place = under(y, x)
    assert place.tolist() == [[0, 0.25, 0.5, 1]]
    assert best.tolist() == [[0, 0.8, 0.8, 0.8]]
    assert float(area) == pytest.approx(0.25 * 0.4 + 0.25 * 0.8 + 0.5 * 0.8)


@pytest.mark.parametrize("metric", ["pic-aic|rows:filled", "pic-sic|rows:filled"])
def test_a_model_that_is_always_right_has_an_area_of_one_and_one_that_never_is_none(metric: str) -> None:
    generator = torch.Generator().manual_seed(3)
    inputs, maps = torch.rand(1, 3, 32, 32, generator=generator), torch.rand(1, 32, 32, generator=generator)
    assert float(one(Constant(2.0, 0.0), inputs, maps, metric).values) == pytest.approx(1)
    if metric.startswith("pic-aic"):
        assert float(one(Constant(0.0, 2.0), inputs, maps, metric).values) == 0
    else:
        assert one(Constant(0.0, 100.0), inputs, maps, metric).status == ("undefined:saturated",)


@pytest.mark.parametrize("metric", ["pic-aic", "pic-sic"])
def test_an_image_that_the_source_refuses_has_a_status(metric: str) -> None:
    generator = torch.Generator().manual_seed(3)
    inputs, maps = torch.rand(1, 3, 16, 16, generator=generator), torch.rand(1, 16, 16, generator=generator)
    assert one(Constant(2.0, 0.0), inputs, maps, metric).status == ("undefined:no-rise",)
    assert one(Constant(0.0, 2.0), inputs, maps, metric).status == ("undefined:unsure",)
    assert one(Constant(2.0, 0.0), torch.full_like(inputs, 0.3), maps, metric).status == ("undefined:zero-difference",)
    assert one(Constant(2.0, 0.0), inputs, maps * 0, metric).status == ("undefined:constant-map",)
    with pytest.raises(VxpError, match="at least 2 x 2"):
        one(Constant(2.0, 0.0), torch.rand(1, 3, 1, 16), torch.rand(1, 1, 16), metric)


def test_the_curve_is_read_at_a_thousand_places_and_of_points_at_one_place_has_the_last() -> None:
    assert area([0.25, 0.25], [0.5, 0.9]) == pytest.approx(0.7752, abs=1e-12)
    assert area([0.25, 0.5], [0.5, 0.5]) == pytest.approx(0.5625, abs=1e-12)
    assert area([0.0, 0.0], [0.7, 0.9]) == pytest.approx(0.5, abs=1e-12)  # (0, 0) is the last at 0
    assert area([1.0], [0.4]) == pytest.approx(0.2 + 0.0005 * 0.6, abs=1e-3)


def test_interpolation_by_hand() -> None:
    """The four corners lie on one circle: the fan from the first of them; halves go to the even level."""
    image = np.zeros((1, 3, 3), dtype=np.uint8)
    image[0, ::2, ::2] = [[0, 101], [40, 250]]
    made = interpolated(image, np.zeros((3, 3), dtype=bool))
    assert made.tolist() == [[[0, 50, 101], [20, 125, 176], [40, 145, 250]]]
    assert interpolated(made, np.ones((3, 3), dtype=bool)).tolist() == made.tolist()


@pytest.mark.parametrize("share", [0.0, 0.05, 0.4, 0.9])
def test_interpolation_is_that_of_integers_whatever_is_shown(share: float) -> None:
    random = np.random.default_rng(int(100 * share))
    image = random.integers(0, 256, (3, 17, 12), dtype=np.uint8)
    for shown in (random.random((17, 12)) < share, np.arange(17)[:, None] + np.zeros(12) < 17 * share):
        assert np.array_equal(interpolated(image, shown), delaunay.interpolated(image, shown))


def test_the_positions_that_are_shown_are_those_of_numpys_quantile() -> None:
    maps = torch.rand(3, 20, 15, generator=torch.Generator().manual_seed(2))
    maps[1], maps[2] = (maps[1] * 5).floor(), (maps[2] * 40).floor()
    case = Case(Batch(("a", "b", "c"), torch.zeros(3, 3, 20, 15), torch.zeros(3, dtype=torch.long)), maps)
    for share in SHOWN:
        wanted = [values >= np.quantile(values, 1 - share / 1000) for values in maps.flatten(1).double().numpy()]
        assert relevant(case, share).tolist() == np.stack(wanted).tolist()


@pytest.mark.parametrize("metric", ["pic-aic|rows:filled", "pic-sic|rows:filled", "pic-aic", "pic-sic"])
def test_the_right_order_needs_less_information(metric: str) -> None:
    generator = torch.Generator().manual_seed(4)
    raw = torch.rand(1, 3, 32, 32, generator=generator)
    w = torch.zeros(3, 32, 32)
    w[:, 4:9, 4:9] = 2.0
    target = w.sum(0)[None]
    ground = float((torch.nn.functional.avg_pool2d(raw, 3, 1, 1) * w).sum())
    model = nn.Sequential(Linear(w), Shift(ground + 2.0))
    good, bad = (float(one(model, raw, m, metric).values) for m in (target, -target))
    assert good > bad


class Shift(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x - torch.tensor([self.by, 0.0])


def test_an_image_that_holds_no_more_than_its_fill_has_no_curve() -> None:
    # below 23 pixels a side the blurred image is the image
    score = one(Constant(1.0, 0.0), torch.rand(1, 3, 16, 16), torch.rand(1, 16, 16), "pic-aic|rows:filled")
    assert score.status == ("undefined:zero-difference",)


# -------------------------------------------------------------------------------------------------------------- the maps


def test_an_exact_attribution_is_complete_to_rounding_and_half_of_it_by_half() -> None:
    """Compared for equality of floats, an exact explanation fails."""
    model, inputs, exact = linear_case()
    maps = torch.cat([exact, exact / 2, torch.zeros_like(exact), -exact])
    score = one(model, inputs.expand(4, -1, -1, -1), maps, "completeness|fill:mean")
    assert score.values.tolist() == pytest.approx([0, 0.5, 1, 2], abs=1e-5)
    assert one(Constant(1.0, 0.0), inputs, exact, "completeness").status == ("undefined:zero-difference",)


def test_effective_complexity_counts_by_the_maps_own_largest_value() -> None:
    """Normalised by the batch: 518 in a batch, 768 alone."""
    small = torch.zeros(H, W)
    small[0, :5], small[1, 0], small[2, 0] = 0.5, -1.0, 0.01
    maps = torch.stack([small, 1000 * torch.ones(H, W) * small, torch.zeros(H, W), torch.full((H, W), 7.0)])
    score = one(Constant(1.0, 0.0), torch.rand(4, 3, H, W), maps, "effective-complexity|threshold:0.4")
    assert score.values[:2].tolist() == [6 / 320] * 2
    assert score.status[2] == "undefined:zero-map"
    assert float(score.values[3]) == 1.0
    strict = one(Constant(1.0, 0.0), torch.rand(1, 3, H, W), small[None], "effective-complexity|threshold:0.5")
    assert strict.values.tolist() == [1 / 320]  # above is above


def test_iou_at_area_by_hand() -> None:
    mask = torch.zeros(1, H, W, dtype=torch.bool)
    mask[0, :4, :8] = True  # 32 positions
    attribution = torch.zeros(1, H, W)
    attribution[0, :4, :4] = 2.0  # 16 inside
    attribution[0, 10:14, :] = 1.0  # 80 outside
    def score(area: str) -> float:
        found = one(Constant(1.0, 0.0), torch.rand(1, 3, H, W), attribution, f"iou-at-area|area:{area}", truth=mask)
        return float(found.values)

    assert score("truth") == 16 / (32 + 32 - 16)
    assert score("5") == 16 / 32  # the 16 best
    assert score("10") == 16 / (32 + 32 - 16)
    with pytest.raises(VxpError, match="expected one of truth, 5"):
        score("7")


def test_focus_is_the_share_of_positive_relevance_in_the_targets_squares() -> None:
    cells = torch.zeros(1, H, W, dtype=torch.bool)
    cells[0, :8, :10] = cells[0, 8:, 10:] = True
    attribution = torch.ones(1, H, W)
    attribution[0, 8:, :10] = -5.0
    score = one(Constant(1.0, 0.0), torch.rand(1, 3, H, W), attribution, "focus", truth={"cells": cells})
    assert float(score.values) == pytest.approx(2 / 3)
    empty = one(Constant(1.0, 0.0), torch.rand(1, 3, H, W), -attribution.abs(), "focus", truth={"cells": cells & False})
    assert empty.status == ("undefined:empty-truth",)
