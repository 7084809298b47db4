"""Explainers of clips: plain loops by the definitions, and models whose right answer is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from clip_tools import NORMALIZATION, QUICK, SPACE, close, made, maps
from torch import Tensor, nn
from torch.nn import functional as F
from vxp import models
from vxp.core import Batch, VxpError
from vxp.explainers import bind, catalogue
from vxp.random import key, uniforms
from vxp_explainers import _common, extremal_perturbation, frame_shapley

FRAMEWISE = {"frame-shapley", "frame-occlusion"}


class Linear(nn.Module):
    """Logits w.x + 1: every voxel adds its own."""

    def __init__(self, space: tuple[int, ...] = SPACE) -> None:
        super().__init__()
        self.w = nn.Parameter(0.1 * torch.randn(3, 3, *space, generator=torch.Generator().manual_seed(7)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bcthw,kcthw->bk", x, self.w) + 1


class Tiny(nn.Module):
    """Features of every other frame, and a head that weighs the steps of time differently."""

    def __init__(self, steps: int = SPACE[0] // 2) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.conv, self.head = nn.Conv3d(3, 5, 3, stride=(2, 1, 1), padding=1), nn.Linear(5, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5, generator=draw)
        self.register_buffer("steps", torch.linspace(-0.5, 1.5, steps))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.einsum("bcthw,t->bc", self.conv(x).relu(), self.steps) / 20)


class Game(nn.Module):
    """Logits that are a function of which frames are shown; a frame is shown where it is not black."""

    def __init__(self, worth: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.worth = worth

    def forward(self, x: Tensor) -> Tensor:
        shown = (x.mean((1, 3, 4)) > 0).double()
        return torch.stack([self.worth(shown), torch.zeros(len(x), dtype=torch.double)], 1)


def bright(frames: int, n: int = 1) -> Batch:
    return Batch(tuple("abc"[:n]), torch.ones(n, 3, frames, 2, 2), torch.zeros(n, dtype=torch.long))


# --------------------------------------------------------------------------------------------- what all have in common


OF_CLIPS = sorted(id for id, found in catalogue().items()
                  if "heatmap3d" in found.kinds and not found.reference and found.family != "attention")


def test_the_explainers_of_clips() -> None:
    assert {"st-occlusion", "frame-occlusion", "frame-shapley", "grad-cam-frames", "rise", "lime", "kernel-shap",
            "extremal-perturbation"} <= set(OF_CLIPS)
    assert {id for id in OF_CLIPS if catalogue()[id].kinds == ("heatmap3d",)} >= FRAMEWISE | {"grad-cam-frames", "st-occlusion"}
    with pytest.raises(VxpError, match="'st-occlusion' makes heatmap3d, and images need heatmap2d"):
        maps("st-occlusion", Tiny(), Batch(("a",), torch.rand(1, 3, 8, 8), torch.zeros(1, dtype=torch.long)))


@pytest.mark.parametrize("name", OF_CLIPS)
def test_maps_of_clips_have_the_declared_form(name: str) -> None:
    batch = made()
    got = maps(name, Tiny(), batch)
    declared = catalogue()[name]
    native = {"cam": (2, 8, 12)}.get(declared.family, (4, 1, 1) if name in FRAMEWISE else SPACE)
    # of a grid of its own nothing is known here
    coarse = declared.resample != "none" and declared.family != "cam" and name not in FRAMEWISE
    assert got.shape == (2, *native) or (coarse and got.ndim == 4)
    assert torch.isfinite(got).all()
    assert catalogue()[name].signed or (got >= 0).all()
    assert got.flatten(1).std(1).min() > 0
    assert batch.medium.id == "clip"


@pytest.mark.parametrize("name", OF_CLIPS)
def test_a_map_of_a_clip_does_not_depend_on_its_neighbours(name: str) -> None:
    model, batch = Tiny(), made(3)
    together = maps(name, model, batch)
    close(maps(name, model, batch.select([2, 0])), together[[2, 0]], 1e-4)
    assert all(p.grad is None for p in model.parameters())


NOMINAL = {"st-occlusion": {"window": 112, "stride": 112, "frames": 8, "step": 4}, "frame-occlusion": {},
           "frame-shapley": {"pairs": 3}, "grad-cam-frames": {"layer": "conv"}, "rise": {"masks": 9}, "lime": {"samples": 9},
           "kernel-shap": {"samples": 9}, "extremal-perturbation": {"steps": 3}}


@pytest.mark.parametrize("name", sorted(NOMINAL))
def test_nominal_passes_are_those_of_sixteen_frames(name: str) -> None:
    model, batch = Tiny(8), made(2, (16, 8, 8))
    few = {**QUICK.get(name, {}), **NOMINAL[name]}
    with models.Passes(model) as passes:
        maps(name, model, batch, **few)
    assert passes.forward + passes.backward == 2 * bind(name, few).passes


@pytest.mark.parametrize(("name", "given", "words"), [
    ("st-occlusion", {"stride": 64, "window": 32}, "window is 32, expected at least 64"),
    ("st-occlusion", {"frames": 1, "step": 2}, "frames is 1, expected at least 2"),
    ("st-occlusion", {"step": 0}, "step is 0, expected at least 1"),
    ("st-occlusion", {"readout": "loss"}, "readout is 'loss', expected one of 'probability', 'logit'"),
    ("st-occlusion", {"fill": "nli"}, "no fill of clips is called 'nli'"),
    ("frame-occlusion", {"readout": "loss"}, "readout is 'loss'"),
    ("frame-shapley", {"pairs": 0}, "pairs is 0, expected at least 1"),
    ("kernel-shap", {"fill": "hold"}, "`hold` imputes from what is left"),
    ("grad-cam-frames", {"layer": "cnov"}, "no layer 'cnov'; did you mean 'conv'"),
])
def test_bad_parameters_of_clips_are_named(name: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(VxpError, match=words):
        maps(name, Tiny(), made(), **given)


# ---------------------------------------------------------------------------------------------------------------- CAMs


def test_grad_cam_frames_by_plain_loops() -> None:
    model, batch = Tiny(), made()
    got = maps("grad-cam-frames", model, batch)
    for i, target in enumerate(batch.targets.tolist()):
        a = model.conv(batch.inputs[i:i + 1]).detach().requires_grad_()
        logits = model.head(torch.einsum("bcthw,t->bc", a.relu(), model.steps) / 20)
        (g,) = torch.autograd.grad(logits[0, target], a)
        expected = torch.zeros(2, 8, 12)
        for t, c in itertools.product(range(2), range(5)):
            expected[t] += g[0, c, t].mean() * a[0, c, t].detach()
        close(got[i], expected.relu())


def test_one_weight_a_step_is_one_a_clip_under_a_mean_over_time() -> None:
    model, batch = Tiny(), made()
    assert not torch.allclose(maps("grad-cam-frames", model, batch), maps("grad-cam", model, batch))
    even = nn.Sequential(model.conv, nn.ReLU(), Mean(model))
    close(maps("grad-cam-frames", even, batch, layer="1"), maps("grad-cam", even, batch, layer="1"))
    # the ReLU cuts the gradient, so that steps differ before it
    assert not torch.allclose(maps("grad-cam-frames", even, batch, layer="0"), maps("grad-cam", even, batch, layer="0"))


class Mean(nn.Module):
    def __init__(self, model: Tiny) -> None:
        super().__init__()
        self.head = model.head

    def forward(self, features: Tensor) -> Tensor:
        return self.head(features.mean((2, 3, 4)))


# ----------------------------------------------------------------------------------------------------------- occlusion


def occluded(model: nn.Module, batch: Batch, i: int, without: Callable[[Tensor, tuple[slice, ...]], Tensor], side: int,
             across: int, frames: int) -> Tensor:
    """Occlusion by loops: windows of frames x side x side, one frame and so many positions from one to the next."""
    x = batch.inputs[i]
    total, count = torch.zeros(SPACE, dtype=torch.float64), torch.zeros(SPACE)
    ends = [sorted({min(s, n - length) for s in range(0, n, by)})
            for n, length, by in zip(SPACE, (frames, side, side), (1, across, across), strict=True)]
    for t, y, x0 in itertools.product(*ends):
        where = (slice(t, t + frames), slice(y, y + side), slice(x0, x0 + side))
        rows = torch.stack([x, without(x.clone(), where)])
        whole, less = model(rows)[:, batch.targets[i]].double()
        total[where] += whole - less
        count[where] += 1
    return total / count


def blacked(x: Tensor, where: tuple[slice, ...]) -> Tensor:
    for channel, (mean, std) in enumerate(zip(NORMALIZATION.mean, NORMALIZATION.std, strict=True)):
        x[(channel, *where)] = -mean / std
    return x


def held(x: Tensor, where: tuple[slice, ...]) -> Tensor:
    first, last = where[0].start, where[0].stop
    source = first - 1 if first else last  # the latest frame before the window, else the earliest after it
    x[(slice(None), slice(first, last), *where[1:])] = x[(slice(None), slice(source, source + 1), *where[1:])].clone()
    return x


@torch.no_grad()
@pytest.mark.parametrize(("fill", "without"), [("black", blacked), ("hold", held)])
@pytest.mark.parametrize(("window", "stride", "side", "across"), [(112, 56, 4, 2), (84, 84, 3, 3)])
def test_st_occlusion_by_plain_loops(fill: str, without: Any, window: int, stride: int, side: int, across: int) -> None:
    model, batch = Linear(), made()
    got = maps("st-occlusion", model, batch, window=window, stride=stride, fill=fill, readout="logit")
    for i in range(2):
        close(got[i], occluded(model, batch, i, without, side, across, 2), 1e-3)


@torch.no_grad()
def test_st_occlusion_of_single_voxels_is_their_share_of_a_linear_model() -> None:
    model, batch = Linear(), made()
    share = (model.w[batch.targets] * batch.inputs).sum(1)  # over the preprocessing mean, which is 0
    got = maps("st-occlusion", model, batch, window=28, stride=28, frames=1, fill="mean", readout="logit")
    torch.testing.assert_close(got, share, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_a_held_frame_is_missed_by_what_compares_frames() -> None:
    """The model reads by how much frame 2 is brighter than frame 1: frame 3 is not looked at, and neither is frame 0, except
    that it is what stays when frame 1 is held."""
    class Step(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            level = x.mean((1, 3, 4))
            return torch.stack([level[:, 2] - level[:, 1], torch.zeros(len(x))], 1)

    levels = torch.tensor([0.2, 0.5, 0.9, 0.1])
    batch = Batch(("a",), levels.view(1, 1, 4, 1, 1).expand(1, 3, 4, 2, 2), torch.zeros(1, dtype=torch.long))
    got = maps("frame-occlusion", Step(), batch, readout="logit")
    assert got.shape == (1, 4, 1, 1)
    close(got.flatten(), torch.tensor([0.0, 0.2 - 0.5, 0.9 - 0.5, 0.0]))
    whole, less = torch.tensor([[0.4, 0.0], [0.0, 0.0]]).softmax(1)[:, 0]
    assert float(maps("frame-occlusion", Step(), batch)[0, 2]) == pytest.approx(float(whole - less))
    black = maps("frame-occlusion", Step(), batch, readout="logit", fill="black")
    close(black.flatten(), torch.tensor([0.0, -0.5, 0.9, 0.0]))


# ------------------------------------------------------------------------------------------------------------- Shapley


def by_orders(worth: Callable[[Tensor], Tensor], n: int) -> Tensor:
    """Shapley values by their definition: what each player adds, averaged over all orders."""
    total = torch.zeros(n, dtype=torch.float64)
    for order in itertools.permutations(range(n)):
        shown = torch.zeros(1, n, dtype=torch.float64)
        for player in order:
            before = worth(shown)
            shown[0, player] = 1
            total[player] += (worth(shown) - before)[0]
    return total / math.factorial(n)


WEIGHTS = torch.tensor([3.0, -1.0, 0.5, 2.0, 0.0, 1.0, -2.0, 4.0, 0.25, 1.5], dtype=torch.float64)
GAMES = {"additive": lambda s: s @ WEIGHTS[:s.shape[1]], "all of three": lambda s: s[:, 0] * s[:, 1] * s[:, 3],
         "either of two": lambda s: s[:, 0].maximum(s[:, 2]), "steps": lambda s: (s[:, 1:] * s[:, :-1]).sum(1)}


@pytest.mark.parametrize("game", GAMES)
def test_frame_shapley_of_few_frames_is_exact(game: str) -> None:
    got = maps("frame-shapley", Game(GAMES[game]), bright(5), fill="black", readout="logit")
    assert got.shape == (1, 5, 1, 1)
    close(got.flatten(), by_orders(GAMES[game], 5))


@pytest.mark.parametrize("pairs", [1, 3])
def test_drawn_orders_are_exact_where_frames_add_up(pairs: int) -> None:
    got = maps("frame-shapley", Game(GAMES["additive"]), bright(10), fill="black", readout="logit", pairs=pairs)
    close(got.flatten(), WEIGHTS)


def test_an_order_and_its_reverse_cancel_what_two_frames_do_together() -> None:
    """Of a game of pairs, half of what two frames do together goes to each in every pair of orders."""
    got = maps("frame-shapley", Game(GAMES["steps"]), bright(10), fill="black", readout="logit", pairs=1)
    close(got.flatten(), torch.tensor([0.5, *[1.0] * 8, 0.5]))


def test_drawn_orders_come_near_the_exact_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """And they sum to what the clip says less what the fill says; each item has draws of its own."""
    batch = bright(6, 3)
    exact = maps("frame-shapley", Game(GAMES["all of three"]), batch, fill="black", readout="logit")
    monkeypatch.setattr(frame_shapley, "EXACT", 0)
    few, many = (maps("frame-shapley", Game(GAMES["all of three"]), batch, fill="black", readout="logit", pairs=n)
                 for n in (2, 200))
    close(few.sum(1).flatten(), torch.ones(3))
    assert len({tuple(row.tolist()) for row in few.flatten(1)}) > 1
    assert float((many - exact).abs().max()) < 0.08 < float((few - exact).abs().max())
    drawn = uniforms(key(0, "clip-0", "frame-shapley@1", "orders"), 0, 12)[0].view(2, 6)
    again = maps("frame-shapley", Game(GAMES["all of three"]), replace(batch, ids=("clip-0", "b", "c")), fill="black",
                 readout="logit", pairs=2)[0].flatten()
    expected = torch.zeros(6)
    for order in [*drawn.argsort(1).tolist(), *drawn.argsort(1).flip(1).tolist()]:
        last = max(order.index(frame) for frame in (0, 1, 3))
        expected[order[last]] += 1 / 4
    close(again, expected)


def test_frame_shapley_holds_frames() -> None:
    """Of a clip that stands still, no frame adds to what any other shows: all share what is more than the grey clip."""
    class Level(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.mean((1, 2, 3, 4)), torch.zeros(len(x))], 1)

    got = maps("frame-shapley", Level(), bright(4), readout="logit")
    close(got.flatten(), torch.full((4,), 0.25))


# ---------------------------------------------------------------------------------------------------------- supervoxels


def test_regular_blocks_in_time_and_place() -> None:
    batch = made(1, (6, 8, 9))
    labels = _common.regions("lime", batch, "grid", 27)[0]
    for t, y, x in itertools.product(range(6), range(8), range(9)):
        assert int(labels[t, y, x]) == (t * 3 // 6) * 9 + (y * 3 // 8) * 3 + x * 3 // 9
    assert int(_common.regions("lime", made(1, (1, 8, 8)), "grid", 27)[0].max()) == 8, "one frame: 1 x 3 x 3"
    assert int(_common.regions("lime", made(1, (2, 8, 8)), "grid", 64)[0].max()) == 31, "two frames: 2 x 4 x 4"


BLOCKS = {"regions": "grid", "superpixels": 27, "readout": "logit"}


def worth(model: Linear, batch: Batch) -> tuple[Tensor, Tensor]:
    """By plain loops what each block adds to the target's logit over the mean, and the map of it."""
    share = (model.w.detach()[batch.targets] * batch.inputs).sum(1)
    labels = _common.regions("lime", batch, "grid", 27)[0]
    values = torch.stack([share[:, labels == block].sum(1) for block in range(int(labels.max()) + 1)], 1)
    return values, values[:, labels]


def test_kernel_shap_of_voxels_that_add_up_is_exact() -> None:
    model, batch = Linear(), made()
    close(maps("kernel-shap", model, batch, samples=120, **BLOCKS), worth(model, batch)[1], 1e-4)


def test_lime_of_voxels_that_add_up_is_exact_without_a_penalty() -> None:
    model, batch = Linear(), made()
    close(maps("lime", model, batch, samples=120, ridge=0.0, **BLOCKS), worth(model, batch)[1], 1e-3)


@pytest.mark.parametrize("name", ["kernel-shap", "lime"])
def test_supervoxels_follow_what_is_seen(name: str) -> None:
    """A bright cube in two frames: its supervoxels have the weight, and no supervoxel reaches over its border."""
    raw = torch.zeros(1, 3, 4, 16, 16)
    raw[:, :, 1:3, 4:12, 4:12] = 1.0

    class Cube(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x[:, :, 1:3, 4:12, 4:12].mean((1, 2, 3, 4)), torch.zeros(len(x))], 1)

    batch = Batch(("a",), raw, torch.zeros(1, dtype=torch.long))
    got = maps(name, Cube(), batch, superpixels=20, samples=200, regions="slic", readout="logit", fill="black")[0]
    inside = raw[0, 0] == 1
    assert float(got[inside].min()) > 10 * float(got[~inside].abs().max())


# --------------------------------------------------------------------------------------------------------------- RISE


@torch.no_grad()
def test_rise_of_clips_by_its_definition() -> None:
    """Every mask from its own bits and shifts, on the whole grid of (cells + 1) cells, in raw space."""
    model, batch, masks, cells = Tiny(), made(1), 20, 3
    got = maps("rise", model, batch, masks=masks, cells=cells, keep=0.4)[0]
    sizes = [math.ceil(n / cells) for n in SPACE]
    bits = (uniforms(key(0, "clip-0", "rise@1", "grid"), 0, masks * cells**3)[0] < 0.4).double().view(masks, 1, 3, 3, 3)
    moved = uniforms(key(0, "clip-0", "rise@1", "shift"), 0, masks, channels=3)
    expected, grey = torch.zeros(SPACE, dtype=torch.float64), torch.tensor(NORMALIZATION.mean).view(3, 1, 1, 1)
    for n in range(masks):
        large = F.interpolate(bits[n:n + 1], size=[(cells + 1) * s for s in sizes], mode="trilinear")[0, 0]
        t, y, x = (int(moved[axis, n] * sizes[axis]) for axis in range(3))
        mask = large[t:t + SPACE[0], y:y + SPACE[1], x:x + SPACE[2]]
        masked = NORMALIZATION.to_inputs(mask * batch.raw()[0].double() + (1 - mask) * grey, 3)
        expected += model(masked[None].float()).softmax(1)[0, 0].double() * mask
    close(got, expected / (0.4 * masks), 1e-4)


def test_rise_finds_the_voxels_that_are_looked_at() -> None:
    class Corner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([12 * x[:, :, 4:, :6, :6].mean((1, 2, 3, 4)) - 6, torch.zeros(len(x))], 1)

    batch = Batch(("a",), torch.ones(1, 3, 8, 12, 12), torch.zeros(1, dtype=torch.long))
    got = maps("rise", Corner(), batch, masks=1500, cells=4, fill="black")[0]
    assert float(got[4:, :6, :6].mean()) > 1.15 * float(got[:4, 6:, 6:].mean())
    assert [int(i) for i in (got == got.amax()).nonzero()[0]] in [[t, y, x] for t in range(4, 8) for y in range(6)
                                                                  for x in range(6)]


# --------------------------------------------------------------------------------------------- extremal perturbation


def test_the_smooth_maximum_of_a_clip_is_that_of_its_frames() -> None:
    cells = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(1))
    got = extremal_perturbation._raised(cells, 1.0)
    for t, row, column in itertools.product(range(2), range(4), range(4)):
        values = []
        for down, right in itertools.product(range(-2, 3), range(-2, 3)):  # within 2*smooth cells
            y, x = row + down, column + right
            here = 0 <= y < 4 and 0 <= x < 4
            values.append(math.exp(-(down**2 + right**2) / 2) * float(cells[t, y, x]) if here else 0.0)
        weights = [math.exp(value / 0.05) for value in values]
        expected = sum(a * b for a, b in zip(values, weights, strict=True)) / sum(weights)
        assert float(got[t, row, column]) == pytest.approx(expected, rel=1e-4)


def test_the_extremal_mask_of_a_clip_lies_where_and_when_the_model_looks() -> None:
    class Cube(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([20 * x[:, :, 4:6, 2:6, 2:6].mean((1, 2, 3, 4)), torch.zeros(len(x))], 1)

    batch = Batch(("a",), torch.ones(1, 3, 8, 12, 12), torch.zeros(1, dtype=torch.long))
    got = maps("extremal-perturbation", Cube(), batch, steps=80, area=0.06, grid=6, smooth=0.6, fill="black")[0]
    inside = torch.zeros(8, 12, 12, dtype=torch.bool)
    inside[4:6, 2:6, 2:6] = True
    assert float(got[inside].mean()) > 0.6
    assert float(got[~inside].mean()) < 0.1
    assert got.mean((1, 2)).argmax() in (4, 5)
