"""Robustness metrics: scores known in closed form, and the faults of other implementations that ours do not have."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import vxp
from oracles import philox
from torch import Tensor, nn
from vxp.core import Batch, Case, VxpError
from vxp.engine import Engine, Job
from vxp.metrics import bind_all, catalogue
from vxp.metrics._stability import relative

H, W = 12, 10
RELATIVE = tuple(f"relative-{kind}-stability" for kind in ("input", "output", "representation"))


class Line(nn.Module):
    """Logits of a linear layer on the flattened input."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.last = nn.Linear(weight.shape[1], len(weight))
        with torch.no_grad():
            self.last.weight.copy_(weight)
            self.last.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(x.flatten(1))
        return found


def first_channel(model: nn.Module, batch: Any) -> Tensor:
    channel: Tensor = batch.inputs[:, 0]
    return channel


def inputs_of(n: int = 2) -> Tensor:
    return 0.5 + torch.rand(n, 3, H, W, generator=torch.Generator().manual_seed(4))


def steady(K: int = 2) -> Line:
    """Class 0 whatever the input, and logits that follow it a little."""
    weight = torch.randn(K, 3 * H * W, generator=torch.Generator().manual_seed(1)) / 20
    return Line(weight, torch.tensor([50.0] + [0.0] * (K - 1)))


def noise(item: int, draw: int, radius: float, seed: int = 0) -> np.ndarray:
    u = philox.uniforms(philox.key(seed, str(item), "max-sensitivity@1", "noise"), draw, H * W)[:3]
    return np.asarray(radius * (2 * u.reshape(3, H, W) - 1))


def rms(values: np.ndarray) -> float:
    return math.sqrt(float((values**2).mean()))


def scored(
    metric: str, model: nn.Module, inputs: Tensor, explainer: Any = first_channel, maps: Tensor | None = None
) -> vxp.Score:
    stored = explainer(model, Batch(tuple("01"[: len(inputs)]), inputs, torch.zeros(len(inputs), dtype=torch.long)))
    return vxp.score(model, inputs, stored if maps is None else maps, targets=[0] * len(inputs), metrics=[metric],
                     explainer=explainer)[metric]


# ------------------------------------------------------------------------------------------------------ local Lipschitz


def test_the_local_lipschitz_estimate_of_the_input_itself_is_one_over_its_size() -> None:
    """A map that is the input moves as far as the input does."""
    x = inputs_of()[:, :1]
    score = scored("local-lipschitz|samples:5|radius:0.3", nn.Sequential(nn.Flatten(), nn.Linear(H * W, 2)), x)
    assert score.values.tolist() == pytest.approx([1 / float(one.double().norm()) for one in x], rel=1e-6)


@pytest.mark.parametrize("metric", ["local-lipschitz|samples:3", "continuity", *(f"{name}|samples:3" for name in RELATIVE)])
def test_the_scale_of_the_map_does_not_count_and_a_map_that_stays_scores_nothing(metric: str) -> None:
    def tiny(model: nn.Module, batch: Any) -> Tensor:
        return first_channel(model, batch) * 2.0**-40

    def fixed(module: nn.Module, batch: Any) -> Tensor:
        return torch.ones(len(batch), H, W)

    model, x = steady(), inputs_of()
    assert scored(metric, model, x, tiny).values.tolist() == scored(metric, model, x).values.tolist()
    assert scored(metric, model, x, fixed).values.tolist() == [0.0, 0.0]
    assert scored(metric, model, x, maps=torch.zeros(2, H, W)).status == ("undefined:zero-map",) * 2


def test_a_local_lipschitz_estimate_needs_a_distance() -> None:
    with pytest.raises(VxpError, match="radius"):
        scored("local-lipschitz|radius:0.0", steady(), inputs_of())


# --------------------------------------------------------------------------------------------------- relative stability


def test_relative_stabilities_of_the_first_channel_follow_from_the_noise() -> None:
    """All values lie between 0.5 and 1.5, so that no divisor is lifted."""
    model, x = steady(3), inputs_of()
    precise, weight = x.double().numpy(), model.last.weight.detach().double().numpy()
    for i in range(2):
        d = [noise(i, draw, 0.1) for draw in range(4)]
        change = [rms(n[0] / precise[i, 0]) for n in d]
        by = {"input": [rms(n / precise[i]) for n in d], "output": [max(rms(weight @ n.ravel()), 0.01) for n in d],
              "representation": [rms(n / precise[i]) for n in d]}
        for kind, moved in by.items():
            score = scored(f"relative-{kind}-stability|samples:4|radius:0.1", model, x)
            wanted = max(a / b for a, b in zip(change, moved, strict=True))
            assert float(score.values[i]) == pytest.approx(wanted, rel=2e-4)


def test_zeros_of_the_map_are_divided_by_a_hundredth_of_its_largest_value() -> None:
    """Divided as it is, one zero makes the score infinite."""
    base, near = torch.tensor([[0.0, -2.0, 0.01, 1.0]]).double(), torch.tensor([[0.1, -1.0, 0.03, 1.0]]).double()
    assert float(relative(base, near)) == pytest.approx(math.sqrt((5.0**2 + 0.5**2 + 1.0**2 + 0.0) / 4))
    zeros = torch.zeros(1, 4, dtype=torch.float64)
    assert float(relative(zeros, zeros + 1e-6, 1e-6)) == pytest.approx(1.0)


def test_one_draw_that_changes_the_class_does_not_cost_the_item_its_score() -> None:
    """The sum of the input decides; the other draws are judged as they are."""
    x = torch.ones(1, 3, H, W)
    sums = [float(noise(0, draw, 0.1).sum()) for draw in range(6)]
    assert min(sums) < 0 < max(sums)
    weight = torch.stack([torch.ones(3 * H * W), torch.zeros(3 * H * W)])
    model = Line(weight, torch.tensor([-3.0 * H * W + 1e-3, 0.0]))
    score = scored("relative-input-stability|samples:6|radius:0.1", model, x)
    kept = [noise(0, draw, 0.1) for draw, total in enumerate(sums) if total > 0]
    assert score.status == ("ok",)
    assert float(score.values[0]) == pytest.approx(max(rms(d[0]) / rms(d) for d in kept), rel=1e-4)


@pytest.mark.parametrize("name", RELATIVE)
def test_where_every_draw_changes_the_class_there_is_no_score(name: str) -> None:
    class Brittle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(1, 2)
            with torch.no_grad():
                self.last.weight.copy_(torch.tensor([[0.0], [1.0]]))
                self.last.bias.copy_(torch.tensor([0.5, 0.0]))

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.last((x != 1).flatten(1).any(1, keepdim=True).float())
            return found

    assert scored(f"{name}|samples:4", Brittle(), torch.ones(1, 3, H, W)).status == ("undefined:class-changed",)
    noisy = torch.ones(1, 3, H, W) * 2  # the same class throughout
    assert scored(f"{name}|samples:4", Brittle(), noisy).status == ("ok",)


def test_a_model_that_does_not_move_divides_by_a_hundredth() -> None:
    x = inputs_of(1)
    model = Line(torch.zeros(2, 3 * H * W), torch.tensor([1.0, 0.0]))
    score = scored("relative-output-stability|samples:3|radius:0.1", model, x)
    wanted = max(rms(noise(0, draw, 0.1)[0] / x[0, 0].double().numpy()) for draw in range(3)) / 0.01
    assert float(score.values[0]) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", RELATIVE)
def test_a_model_that_fails_is_not_called_another_class(name: str) -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            noisy = (x != 1).flatten(1).any(1, keepdim=True)
            found: Tensor = self.last(noisy.float()).masked_fill(noisy, float("nan"))
            return found

    status = scored(f"{name}|samples:2", Fails(), torch.ones(1, 3, H, W)).status
    assert status[0].startswith("failed:")


def test_maps_and_rows_are_shared_by_all_that_add_noise() -> None:
    model, x = steady(), inputs_of()
    batch = Batch(("0", "1"), x, torch.zeros(2, dtype=torch.long))
    names = ["max-sensitivity", "average-sensitivity", "local-lipschitz", *RELATIVE]
    engine = Engine(model, 4)
    engine.score(Job(Case(batch, x[:, 0]), bind_all([f"{name}|samples:4" for name in names]), first_channel))
    assert engine.tally.explained == 2 * 4
    assert engine.tally.run == 2 * (4 + 1)


# ----------------------------------------------------------------------------------------------------------- continuity


def test_continuity_of_a_single_bright_pixel_is_known() -> None:
    """The pixel moves, and map and input change by twice its size in the 1-norm, by root two in the 2-norm."""
    x = torch.zeros(1, 3, H, W)
    x[:, :, 4, 4] = 1.0
    score = scored("continuity|shifts:2", steady(), x)
    assert float(score.values[0]) == pytest.approx(2 / math.sqrt(2), rel=1e-6)
    x[:] = 0
    x[:, :, 0, 0] = 1.0  # moved by the fill's black corner and out at the other side: the same
    assert float(scored("continuity|shifts:1", steady(), x).values[0]) == pytest.approx(math.sqrt(2), rel=1e-6)
    x[:] = 0
    x[:, :, H - 1, W - 1] = 1.0  # moved out of the image: all of it is gone
    assert float(scored("continuity|shifts:1", steady(), x).values[0]) == pytest.approx(1.0, rel=1e-6)


def test_a_translation_that_changes_nothing_is_not_divided_by() -> None:
    flat = torch.zeros(1, 3, H, W)
    maps = torch.rand(1, H, W)
    assert scored("continuity", steady(), flat, maps=maps).status == ("undefined:zero-difference",)
    with pytest.raises(VxpError, match="less than 10"):
        scored("continuity|shifts:10", steady(), flat, maps=maps)


def test_every_parameter_of_these_metrics_has_limits() -> None:
    for name in ("local-lipschitz", "continuity", *RELATIVE):
        assert set(catalogue()[name].limits) == set(catalogue()[name].parameters)
        assert catalogue()[name].family == "robustness"
        assert catalogue()[name].better == "lower"
