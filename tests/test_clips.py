"""Clips [B, C, T, H, W]: media, fills, maps over time, and the doors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import vxp
from torch import Tensor, nn
from torch.nn import functional as F
from vxp import explainers, media, models
from vxp.core import Batch, Case, Filled, Normalization, Removed, Request, Unchanged, VxpError
from vxp.core.segments import slic
from vxp.engine.building import Builder
from vxp.kinds import HEATMAP3D
from vxp.models.clips import late_fusion

T, H, W = 5, 6, 8
NORM = Normalization((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))


def clips(n: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, T, H, W, generator=torch.Generator().manual_seed(seed))


def batch(n: int = 2) -> Batch:
    raw = clips(n)
    return Batch(tuple("ab"[:n]), NORM.to_inputs(raw, 3), torch.zeros(n, dtype=torch.long), NORM, seed=3)


class Motion(nn.Module):
    """A clip model with a layer [B, C, t, h, w] of half the frames."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv3d(3, 4, 3, stride=(2, 1, 1), padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(x)).mean((2, 3, 4)))


class Frame(nn.Module):
    """A model of images."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(x)).mean((2, 3)))


# --------------------------------------------------------------------------------------------------------------- fills


def test_the_normalization_of_a_clip_is_that_of_its_frames() -> None:
    raw = clips()
    inputs = NORM.to_inputs(raw, 3)
    for t in range(T):
        assert torch.equal(inputs[:, :, t], NORM.to_inputs(raw[:, :, t]))
    assert torch.allclose(batch().raw(), raw, atol=1e-6)


def test_painted_fills_of_a_clip() -> None:
    some = batch()
    raw = some.raw()
    assert some.medium is media.CLIP
    assert torch.equal(some.fill_image("mean"), torch.zeros_like(some.inputs))
    assert torch.allclose(some.to_raw(some.fill_image("black")), torch.zeros_like(raw), atol=1e-6)
    assert torch.allclose(some.to_raw(some.fill_image("mean-frame")), raw.mean(2, keepdim=True).expand_as(raw), atol=1e-6)
    assert torch.equal(some.fill_image("reverse"), some.inputs.flip(2))
    noise = some.fill_image("noise")
    assert torch.equal(noise[1:], some.select([1]).fill_image("noise")), "keyed by the item"
    big = Batch(("a",), NORM.to_inputs(torch.rand(1, 3, 2, 50, 60), 3), torch.zeros(1, dtype=torch.long), NORM)
    for t in range(2):
        frame = Batch(("a",), big.inputs[:, :, t], big.targets, NORM)
        assert torch.allclose(big.fill_image("blur")[:, :, t], frame.fill_image("blur"), atol=1e-6)
    with pytest.raises(VxpError, match="`hold` imputes from what is left"):
        some.fill_image("hold")
    with pytest.raises(VxpError, match="no fill of clips is called 'nli'"):
        some.fill_image("nli")


def held(clip: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """`hold` by loops: clip [C, T, H, W], removed [T, H, W]."""
    found = clip.copy()
    for t in range(clip.shape[1]):
        for y in range(clip.shape[2]):
            for x in range(clip.shape[3]):
                if removed[t, y, x]:
                    before = [s for s in range(t) if not removed[s, y, x]]
                    after = [s for s in range(t, clip.shape[1]) if not removed[s, y, x]]
                    found[:, t, y, x] = clip[:, before[-1], y, x] if before else clip[:, after[0], y, x] if after else 0.0
    return found


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_hold_shows_what_was_last_seen(share: float) -> None:
    some = batch()
    removed = torch.rand(2, T, H, W, generator=torch.Generator().manual_seed(7)) < share
    removed[:, :, 0, 0], removed[:, 0] = True, removed[:, 0] | (share > 0.5)
    fill = media.CLIP.fill("hold")
    assert isinstance(fill, media.Imputed)
    ours = fill.impute(some, torch.tensor([0, 1]), removed.flatten(1))
    for i in range(2):
        assert np.array_equal(ours[i].numpy(), held(some.inputs[i].numpy(), removed[i].numpy()))


def test_rows_of_held_positions_and_of_everything() -> None:
    """The engine imputes what an order removes; a clip without anything left is the fill that stands for it."""
    some = batch()
    case = Case(some, torch.rand(2, T, H, W, generator=torch.Generator().manual_seed(9)))
    request = case.removed([0, 7, T * H * W], "hold")
    assert request == Request((Unchanged(), Removed(case.ranked, 0, 7, "hold"), Filled("mean")))
    rows = Builder(some, {case.key: case}).build([(1, edit) for edit in request.edits]).clone()
    gone = torch.zeros(T * H * W, dtype=torch.bool)
    gone[case.order[1, :7]] = True
    assert torch.equal(rows[0], some.inputs[1])
    assert np.array_equal(rows[1].numpy(), held(some.inputs[1].numpy(), gone.view(T, H, W).numpy()))
    assert torch.equal(rows[2], torch.zeros_like(rows[2]))


# ---------------------------------------------------------------------------------------------------------------- maps


def test_maps_over_time_are_resampled_by_their_rule() -> None:
    native = torch.rand(2, 2, 3, 4, generator=torch.Generator().manual_seed(4))
    trilinear = HEATMAP3D.resampled(native, (T, H, W), "trilinear")
    theirs = F.interpolate(native[:, None], (T, H, W), mode="trilinear", align_corners=False)[:, 0]
    assert torch.allclose(trilinear, theirs, atol=1e-6)
    frames = HEATMAP3D.resampled(native, (T, H, W), "frames")
    place = [math.floor((2 * i + 1) * 2 / (2 * T)) for i in range(T)]
    for t in range(T):
        flat = F.interpolate(native[:, place[t]][:, None], (H, W), mode="bilinear", align_corners=False)[:, 0]
        assert torch.allclose(frames[:, t], flat, atol=1e-6)
    nearest = HEATMAP3D.resampled(native, (T, H, W), "nearest")
    assert set(nearest.unique().tolist()) <= set(native.unique().tolist())
    assert HEATMAP3D.rule("bilinear") == "trilinear"
    with pytest.raises(VxpError, match=r"expected \[t, h, w\] for inputs of \(5, 6, 8\)"):
        HEATMAP3D.resampled(native[:, 0], (T, H, W), "trilinear")


# --------------------------------------------------------------------------------------------------------------- doors


def test_clips_are_explained_and_scored() -> None:
    model = Motion()
    inputs = clips(3)
    maps = vxp.explain(model, inputs, "grad-cam")
    assert maps.shape == (3, 3, H, W), "the layer has half the frames, rounded up"
    scores = vxp.score(model, inputs, maps, metrics=("deletion|steps:6", "st-deletion|steps:6", "frame-deletion", "entropy"))
    assert scores["deletion"].status == ("not-run:kind",) * 3
    for name in ("st-deletion", "frame-deletion", "entropy"):
        assert scores[name].status == ("ok",) * 3, name
    assert scores["st-deletion"].signature == "st-deletion@1|steps:6|fill:hold"


def test_supervoxels_are_regions_in_time_and_place() -> None:
    raw = torch.zeros(1, 3, 4, 16, 16)
    raw[:, :, 2:, :, :8] = 1.0  # half of the picture changes half-way
    labels = slic(Batch(("a",), raw, torch.zeros(1, dtype=torch.long)), 8)
    assert labels.shape == (1, 4, 16, 16)
    assert int(labels.min()) == int(labels[0, 0, 0, 0]) == 0
    bright = set(labels[raw[:, 0] == 1].tolist())
    assert bright.isdisjoint(labels[raw[:, 0] == 0].tolist())


def test_a_fill_of_whole_frames_is_refused_for_voxels() -> None:
    assert vxp.metrics.bind("frame-deletion|fill:reverse").parameters == {"fill": "reverse"}
    for name, fill in (("st-deletion", "reverse"), ("tube-deletion", "hold"), ("frame-insertion", "nli")):
        with pytest.raises(VxpError, match=f"parameter 'fill': got '{fill}'.*expected one of"):
            vxp.metrics.bind(f"{name}|fill:{fill}")


@pytest.mark.parametrize("name", ["saliency", "input-x-gradient", "integrated-gradients", "smoothgrad", "random"])
def test_methods_of_every_position_explain_clips(name: str) -> None:
    given = {"integrated-gradients": {"steps": 4}, "smoothgrad": {"samples": 3}}.get(name, {})
    model, inputs = Motion(), clips(3)
    together = vxp.explain(model, inputs, name, parameters=given)
    assert together.shape == (3, T, H, W)
    assert together.flatten(1).std(1).min() > 0


def test_an_explainer_that_knows_images_only_says_so() -> None:
    with pytest.raises(VxpError, match="explainer 'sobol' makes heatmap2d, and clips need heatmap3d"):
        vxp.explain(Motion(), clips(), "sobol")


def test_a_frame_model_becomes_a_clip_model() -> None:
    frame, inputs = Frame(), clips()
    logits = torch.stack([frame(inputs[:, :, t]) for t in range(T)], 1)
    for fusion, expected in (("log-mean-exp", logits.exp().mean(1).log()), ("mean", logits.mean(1)), ("max", logits.amax(1))):
        assert torch.allclose(late_fusion(frame, fusion)(inputs), expected, atol=1e-6)
    model = vxp.late_fusion(frame)
    assert models.last_spatial_layer(model, inputs[:1]) == "model.conv"
    maps = vxp.explain(model, inputs, "grad-cam")
    assert maps.shape == (2, T, H, W)
    with pytest.raises(VxpError, match="no fusion is called 'mena'; did you mean 'mean'"):
        late_fusion(frame, "mena")


def test_grad_cam_of_clips_is_captums() -> None:
    from captum.attr import LayerGradCam

    model, inputs = Motion(), clips()
    targets = model(inputs).argmax(1)
    theirs = LayerGradCam(model, model.conv).attribute(inputs, target=targets, relu_attributions=True)[:, 0]
    assert torch.allclose(vxp.explain(model, inputs, "grad-cam", targets), theirs, atol=1e-6)


@pytest.mark.parametrize(("inputs", "words"), [
    (torch.rand(2, 9, 3, H, W), "expected the channels before the frames"),
    (torch.rand(2, 3, 4, 4, 4, 4), r"expected a float tensor \[B, 3, H, W\], or \[B, 3, T, H, W\] of clips"),
    (torch.zeros(1, 3, T, H, W, dtype=torch.uint8), "convert 8-bit images"),
])
def test_what_is_no_clip_is_refused(inputs: Tensor, words: str) -> None:
    with pytest.raises(VxpError, match=words):
        vxp.explain(Motion(), inputs, "random")


def test_maps_of_another_shape_are_refused() -> None:
    with pytest.raises(VxpError, match=r"attributions: got \(2, 6, 8\) float32, expected \[2, t, h, w\]"):
        vxp.score(Motion(), clips(), torch.rand(2, H, W), metrics=("entropy",))


def test_a_model_of_frames_first() -> None:
    class First(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[1:3] == (T, 3)
            return x.mean((3, 4)).mean(1)

    assert vxp.frames_first(First())(clips()).shape == (2, 3)


def test_scores_of_truth_are_those_of_the_flat_maps() -> None:
    """A definition over positions is the same however many axes they have."""
    model, maps = Motion(), torch.rand(2, T, H, W, generator=torch.Generator().manual_seed(5))
    inside = torch.rand(2, T, H, W, generator=torch.Generator().manual_seed(6)) < 0.3
    wanted = ("mask-auc", "mask-average-precision", "relevance-rank", "energy-pointing-game", "gini")
    clip = vxp.score(model, clips(), maps, truth=inside, metrics=wanted)
    flat = torch.rand(2, 3, T * H, W)
    image = vxp.score(Frame(), flat, maps.view(2, T * H, W), truth=inside.view(2, T * H, W), metrics=wanted)
    for name in wanted:
        assert torch.equal(clip[name].values, image[name].values), name


def test_explainers_say_what_they_make() -> None:
    for found in explainers.catalogue().values():
        assert found.kinds
        assert set(found.kinds) <= set(vxp.kinds.KINDS)


def test_the_page_on_clips_says_what_happens() -> None:
    """docs/howto/clips.md shows this file."""
    said: dict[str, object] = {}
    exec(compile((Path(__file__).parent / "howto" / "clips.py").read_text(), "clips.py", "exec"), said)  # our own file
    maps, scores = said["maps"], said["scores"]
    assert isinstance(maps, Tensor)
    assert maps.ndim == 4
    assert isinstance(scores, vxp.Scores)
    assert scores["pointing-game"].status == ("not-run:kind",) * 2
    assert all(s == "ok" for name in ("relevance-rank", "mask-auc", "gini") for s in scores[name].status)
