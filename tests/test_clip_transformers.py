"""Transformers of clips by their tubelets, and TAME, which is trained: by plain loops."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from clip_tools import NORMALIZATION, close, made, maps
from torch import Tensor, nn
from vxp import datasets, models, tasks
from vxp.core import Batch, VxpError
from vxp.explainers import bind, catalogue
from vxp.models.clips import late_fusion
from vxp.runs import fitting
from vxp.runs.context import Quiet
from vxp_explainers._class_maps import Tame
from vxp_explainers._training import variation


class Tubelets(nn.Module):
    """Tubelets of 2 x 4 x 4, one head of attention without weights: a token looks at those that are like it."""

    def __init__(self, prefix: int, layers: int = 2) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.embed, self.head = nn.Conv3d(3, 8, (2, 4, 4), (2, 4, 4)), nn.Linear(8, 3)
        self.layers = nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(layers))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5, generator=draw)
        self.token = nn.Parameter(torch.randn(1, prefix, 8, generator=draw))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        for norm, attend in zip(self.norms, self.layers, strict=True):
            y = norm(x)
            x = x + attend(y, y, y)[0]
        return self.head(x[:, 0] if self.token.shape[1] else x.mean(1))


TUBED = (6, 8, 12)
"""3 x 2 x 3 tubelets."""


@pytest.mark.parametrize("prefix", [1, 0])
def test_rollout_of_tubelets_by_plain_loops(prefix: int) -> None:
    model, batch = Tubelets(prefix), made(2, TUBED)
    got = maps("attention-rollout", model, batch)
    assert got.shape == (2, 3, 2, 3)
    for i in range(2):
        x = model.embed(batch.inputs[i:i + 1]).flatten(2).transpose(1, 2)
        x = torch.cat([model.token, x], 1).detach()
        rolled = torch.eye(x.shape[1])
        for norm, attend in zip(model.norms, model.layers, strict=True):
            y = norm(x)
            out, a = attend(y, y, y, need_weights=True)
            x, rolled = x + out, (a[0].detach() + torch.eye(x.shape[1])) / 2 @ rolled
        row = rolled[0] if prefix else rolled.mean(0)
        for t, y, x in itertools.product(range(3), range(2), range(3)):
            assert float(got[i, t, y, x]) == pytest.approx(float(row[prefix + (t * 2 + y) * 3 + x]), rel=1e-4)


def test_chefer_of_tubelets_is_of_the_target_and_nothing_where_it_is_cut_off() -> None:
    model, batch = Tubelets(1), made(2, TUBED)
    got = maps("chefer-lrp", model, batch)
    assert got.shape == (2, 3, 2, 3)
    assert not torch.allclose(got, maps("chefer-lrp", model, replace(batch, targets=(batch.targets + 1) % 3)))
    model.head.weight.data.zero_()
    assert not maps("chefer-lrp", model, batch).any()


@pytest.mark.parametrize("name", ["grad-cam", "grad-cam-frames"])
def test_cams_of_tubelets_by_plain_loops(name: str) -> None:
    model, batch = Tubelets(1), made(2, TUBED)
    assert models.last_spatial_layer(model, batch.inputs[:1]) == "norms.1"
    got = maps(name, model, batch)
    for i, target in enumerate(batch.targets.tolist()):
        before: list[Tensor] = []
        handle = model.norms[1].register_forward_hook(lambda _m, _i, out, before=before: before.append(out))
        logits = model(batch.inputs[i:i + 1])
        handle.remove()
        (g,) = torch.autograd.grad(logits[0, target], before[0])
        a, g = (v.detach()[0, 1:].T.reshape(8, 3, 2, 3) for v in (before[0], g))
        expected = torch.zeros(3, 2, 3)
        for t, c in itertools.product(range(3), range(8)):
            expected[t] += (g[c].mean() if name == "grad-cam" else g[c, t].mean()) * a[c, t]
        close(got[i], expected.relu(), 1e-4)


@pytest.mark.parametrize(("tokens", "space", "expected"), [
    (1 + 18, TUBED, (1, 3, 2, 3)), (18, TUBED, (0, 3, 2, 3)), (2 + 18, TUBED, (2, 3, 2, 3)),
    (3 * 4 * 4 + 1, (6, 32, 32), (1, 3, 4, 4)),  # pooled once
    (3 * 2 * 2, (6, 32, 32), (0, 3, 2, 2)),  # and twice
    (17, TUBED, None), (18, (6, 8, 9), None), (1, (6, 32, 32), None), (9, (1, 8, 8), None),
])
def test_tokens_lie_in_a_volume(tokens: int, space: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    assert models.token_volume(Tubelets(1), tokens, space) == expected
    assert models.token_volume(nn.Linear(2, 2), tokens, space) is None


class Frames(nn.Module):
    """A model of images with attention, for `late_fusion`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.patches, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 3)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head((x + self.attend(x, x, x)[0]).mean(1))


def test_attention_of_a_model_of_frames_is_that_of_every_frame() -> None:
    frame, batch = Frames().eval(), made(2, (3, 8, 12))
    got = maps("attention-rollout", late_fusion(frame), batch)
    assert got.shape == (2, 3, 2, 3)
    for t in range(3):
        image = Batch(batch.ids, batch.inputs[:, :, t], batch.targets, NORMALIZATION)
        close(got[:, t], maps("attention-rollout", frame, image))


def test_grad_cam_of_swin_brings_the_channels_forward() -> None:
    """[B, t, h, w, C], as torchvision's Swin has them: the logit of a target is the mean of the map before the ReLU."""
    from torchvision.models.video import SwinTransformer3d

    torch.manual_seed(0)
    model = SwinTransformer3d([2, 4, 4], 12, [1, 1], [2, 2], [2, 2, 2], num_classes=3).eval()
    nn.init.normal_(model.head.weight, std=2.0)
    batch = made(2, (4, 16, 24))
    assert models.last_spatial_layer(model, batch.inputs[:1]) == "norm"
    got = maps("grad-cam", model, batch)
    assert got.shape == (2, 2, 2, 3)
    features = model.norm(model.features(model.patch_embed(batch.inputs))).detach()
    for i, target in enumerate(batch.targets.tolist()):
        expected = torch.zeros(2, 2, 3)
        for c in range(24):
            expected += model.head.weight.detach()[target, c] / 12 * features[i, :, :, :, c]
        close(got[i], expected.relu(), 1e-4)
    with pytest.raises(VxpError, match="'attention-rollout' found no attention"):
        maps("attention-rollout", model, batch)


def test_grad_cam_of_mvit_reads_pooled_tokens() -> None:
    from torchvision.models.video.mvit import MSBlockConfig, MViT

    torch.manual_seed(0)
    blocks = [MSBlockConfig(1, 8, 8, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2]),
              MSBlockConfig(2, 8, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
              MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 1, 1])]
    model = MViT((32, 32), 4, blocks, False, False, False, False, num_classes=3).eval()
    nn.init.normal_(model.head[1].weight, std=2.0)
    batch = made(2, (4, 32, 32))
    assert models.last_spatial_layer(model, batch.inputs[:1]) == "blocks.2.norm1"
    got = maps("layer-cam", model, batch)
    assert got.shape == (2, 2, 4, 4), "tubelets of 2 x 8 x 8, halved in space"
    assert float(got.std()) > 0


def test_divided_attention_is_refused() -> None:
    """As TimeSformer's: among the frames of a place, then among the places of a frame."""
    class Divided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Conv3d(3, 8, (2, 4, 4), (2, 4, 4)), nn.Linear(8, 3)
            self.time, self.space = (nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            x = self.embed(x).flatten(3)
            x = x.permute(0, 3, 2, 1).flatten(0, 1)
            x = self.time(x, x, x)[0].unflatten(0, (-1, 6)).transpose(1, 2).flatten(0, 1)
            return self.head(self.space(x, x, x)[0].unflatten(0, (-1, 3)).mean((1, 2)))

    with pytest.raises(VxpError, match=r"found attention of the shapes \[\(6, 2, 6, 6\), \(12, 2, 3, 3\)\]"):
        maps("attention-rollout", Divided(), made(2, TUBED))


@pytest.mark.parametrize("kind", ["videomae", "vivit"])
def test_attention_of_transformers_is_what_the_package_gives(kind: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    common = {"image_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
              "num_labels": 3, "initializer_range": 0.5, "num_frames": 8}
    inner = (transformers.VideoMAEForVideoClassification(transformers.VideoMAEConfig(patch_size=8, tubelet_size=2, **common))
             if kind == "videomae" else
             transformers.VivitForVideoClassification(transformers.VivitConfig(tubelet_size=[2, 8, 8], **common)))

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.transpose(1, 2)).logits

    batch, how = made(2, (8, 32, 32)), inner.config._attn_implementation
    got = maps("attention-rollout", Logits(), batch)
    assert inner.config._attn_implementation == how
    inner.config._attn_implementation = "eager"
    attended = inner(batch.inputs.transpose(1, 2), output_attentions=True).attentions
    rolled = torch.eye(attended[0].shape[-1])
    for a in attended:
        rolled = (a.detach().mean(1) + torch.eye(a.shape[-1])) / 2 @ rolled
    close(got, (rolled[:, 0, 1:] if kind == "vivit" else rolled.mean(1)).view(2, 4, 4, 4), 1e-4)
    for name in ("chefer-lrp", "grad-cam", "layer-cam"):
        assert maps(name, Logits(), batch).shape == (2, 4, 4, 4)


# --------------------------------------------------------------------------------------------------------------- TAME


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 3])
def test_tame_of_clips_is_that_of_images_at_one_step_and_linear_in_time(steps: int) -> None:
    """Two feature maps, the second of one time step and a coarser grid: of each step it adds the same."""
    torch.manual_seed(0)
    image, clip = Tame([2, 3], 4).eval(), Tame([2, 3], 4, axes=3).eval()
    image.load_state_dict({name: value.flatten(2, 4)[..., None] if value.ndim == 5 else value
                           for name, value in clip.state_dict().items()})
    fine, coarse = torch.randn(2, 2, steps, 6, 8), torch.randn(2, 3, 1, 3, 4)
    got = clip([fine, coarse])
    assert got.shape == (2, 4, steps, 6, 8)
    for t in range(steps):
        close(got[:, :, t], image([fine[:, :, t], coarse[:, :, 0]]))


def test_variation_of_clips_by_plain_loops() -> None:
    maps = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for n, t, y, x in itertools.product(*map(range, maps.shape)):
        here = float(maps[n, t, y, x])
        for later in ((t + 1, y, x), (t, y + 1, x), (t, y, x + 1)):
            if all(p < size for p, size in zip(later, (3, 4, 5), strict=True)):
                expected += (float(maps[(n, *later)]) - here) ** 2
        expected += 0.3 * here**2 * sum((p == 0) + (p == size - 1) for p, size in zip((t, y, x), (3, 4, 5), strict=True))
    assert float(variation(maps, 2)) == pytest.approx(expected / 4, rel=1e-5)


def test_tame_is_trained_on_clips(tmp_path: Path) -> None:
    """Two epochs on a few clips of the command's data set: the loss falls, and the weights explain clips of this model."""
    model, out = models.load("motion-net"), tmp_path / "mine.safetensors"
    shown = fitting.images(datasets.source("motion-items"), model, 16, fitting.Terms(701, "cpu", "fp32", 1, Quiet()))
    tame, given = catalogue()["tame"], {"epochs": 2, "batch": 4, "rate": 0.02}
    recipe = fitting.recipe_of(fitting.training_of(tame), model.module, None, given, "tame")
    card = fitting.fit(tame, recipe, model, shown, fitting.Terms(0, "cpu", "fp32", 1, Quiet()), out)
    assert (card["mechanism"]["axes"], card["layers"]) == (3, ["features.5", "features"])
    assert card["log"][1]["loss"] < card["log"][0]["loss"]
    batch = tasks.load("motion-items").batch(0, 3, model)
    got = bind(f"tame|weights:{out}")(model.module, batch.select([0, 1, 2]))
    assert got.shape == (3, 8, 16, 16)
    assert (float(got.min()), float(got.max())) == (0, 1)
