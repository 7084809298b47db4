"""The task motion-items: clips whose class is a motion, their model, why `hold` is their fill."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import vxp
from torch import Tensor
from vxp import datasets, explainers, media, models, tasks
from vxp.core import Batch, VxpError
from vxp.datasets import motion_items
from vxp.datasets.motion_items import CLASSES, DIRECTIONS, FRAMES, SIZE, SPAN, STRIDE, Scene, scene
from vxp.maintain import train_motion
from vxp.models import Model
from vxp.models.motion_net import MotionNet

FRESH, N = 700_000_000, 400
"""Seeds that neither the training nor the task has."""


@cache
def scenes() -> list[Scene]:
    return [scene(FRESH + i, i % 4) for i in range(N)]


@cache
def motion_net() -> Model:
    return models.load("motion-net")


@cache
def fresh() -> Batch:
    raw = torch.from_numpy(np.stack([s.clip() for s in scenes()])).float() / 255
    normalization = motion_net().normalization
    mask = torch.from_numpy(np.stack([s.mask() for s in scenes()]))
    return Batch(tuple(map(str, range(N))), normalization.to_inputs(raw, 3), torch.arange(N) % 4, normalization,
                 truth={"mask": mask})


def facts(model: Model) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Its normalization, as `vxp.score` takes it."""
    return model.normalization.mean, model.normalization.std


def probabilities(inputs: Tensor) -> Tensor:
    """[N, 4]."""
    return models.predict(motion_net().module, inputs, 100).softmax(1)


def of_class(inputs: Tensor) -> Tensor:
    """The probability of the clip's class, [N]."""
    return probabilities(inputs).gather(1, fresh().targets[:, None])[:, 0]


def without(fill: str, *, span: bool) -> Tensor:
    """The clips without the frames of the span, or without all others, which are as many."""
    batch, frames = fresh(), torch.zeros(N, FRAMES, dtype=torch.bool)
    for i, made in enumerate(scenes()):
        frames[i, made.span] = True
    removed = (frames == span)[:, :, None, None].expand(N, *batch.space)
    found = media.CLIP.fill(fill)
    if isinstance(found, media.Imputed):
        return found.impute(batch, torch.arange(N), removed.flatten(1))
    return torch.where(removed[:, None], found.image(batch), batch.inputs)


def contrast(fill: str) -> float:
    """What the probability of the class loses with the frames of the span, less what it loses with the others."""
    return float((of_class(without(fill, span=False)) - of_class(without(fill, span=True))).mean())


# ----------------------------------------------------------------------------------------------------------------- data


def test_clips_have_the_same_bytes_on_every_machine() -> None:
    found = hashlib.sha256(b"".join(s.clip().tobytes() + s.mask().tobytes() for s in scenes()[:20])).hexdigest()
    assert found == "327e4bd94fc6c77799012992436ed3e2d078a65539fa7ecdf2f631cf9f42b4e3"


def test_the_class_shows_in_the_masked_positions_only() -> None:
    """One seed in all classes: the frames outside the span are the same to the bit, and those inside but for the item."""
    for seed in range(30):
        one, other = scene(FRESH + seed, 0), scene(FRESH + seed, 1 + seed % 3)
        differs = (one.clip() != other.clip()).any(0)
        assert not (differs & ~(one.mask() | other.mask())).any()
        alike = np.ones(FRAMES, bool)
        alike[one.span] = False
        assert not differs[alike].any()
        assert not differs[one.span.start].any(), "the item lands at a place that does not depend on the class"


def test_a_single_frame_says_nothing() -> None:
    """In every frame of the span the item is anywhere, whatever the class: 16 cells of places, and what chance allows."""
    many = [scene(FRESH + i, i % 4) for i in range(4 * N)]
    for frame in range(SPAN):
        for c in range(4):
            places = np.stack([s.item.places[s.span.start + frame] for s in many[c::4]]) // (SIZE // 4)
            counts = np.bincount(places[:, 0] * 4 + places[:, 1], minlength=16)
            assert np.abs(counts - N / 16).max() < 5 * np.sqrt(N / 16)


def test_the_item_keeps_its_direction_and_the_distractor_none() -> None:
    for made, c in zip(scenes(), [i % 4 for i in range(N)], strict=True):
        steps = np.diff(made.item.places, axis=0) % SIZE
        assert (steps[made.span.start : made.span.stop - 1] == STRIDE * DIRECTIONS[c] % SIZE).all()
        assert made.span.stop - made.span.start == SPAN
    for seed in range(200):
        steps = motion_items._jitter(motion_items.Draws(seed), [])
        assert not any(a == b for a, b in pairwise(steps))


def energy(made: Scene, walker: motion_items.Walker) -> float:
    """The sum of absolute differences of consecutive frames, of the ground with this walker alone."""
    return float(np.abs(np.diff(made.still([walker]), axis=1)).sum())


def test_the_distractor_has_as_much_motion_energy_as_the_item() -> None:
    item, distractor = (np.array([energy(s, getattr(s, which)) for s in scenes()]) for which in ("item", "distractor"))
    ratio = distractor.mean() / item.mean()
    print(f"motion energy of the distractor over the item's: {ratio:.3f}, in a clip +-{(distractor / item).std():.2f}")
    assert abs(ratio - 1) < 0.05


def test_the_source_proposes_clips_without_end() -> None:
    source = datasets.source("motion-items")
    proposed = list(islice(source.propose(3), 8))
    assert [item.label for item in proposed] == [(0,), (1,), (2,), (3,)] * 2
    assert len({item.cluster for item in proposed}) == 8
    sample = source.load(proposed[0])
    assert (sample.image.shape, sample.image.dtype) == ((3, FRAMES, SIZE, SIZE), torch.uint8)
    assert (sample.truth["mask"].shape, sample.truth["mask"].dtype) == ((FRAMES, SIZE, SIZE), torch.bool)


# ---------------------------------------------------------------------------------------------------------------- model


def test_the_weights_are_small_and_the_model_takes_clips() -> None:
    assert len((files("vxp") / "assets" / "motion-net.safetensors").read_bytes()) < 150_000
    model = motion_net()
    assert (model.input_size, model.class_names) == ((FRAMES, SIZE, SIZE), CLASSES)
    with pytest.raises(VxpError, match="model motion-net takes clips of 8 frames, and this takes images"):
        tasks.opened(Path("any"), model)


def test_the_model_reads_motion_and_nothing_else() -> None:
    batch = fresh()
    whole, still = of_class(batch.inputs), of_class(batch.inputs[:, :, :1].expand_as(batch.inputs))
    backwards = probabilities(batch.inputs.flip(2)).argmax(1)
    accuracy = float((probabilities(batch.inputs).argmax(1) == batch.targets).float().mean())
    opposite = float((backwards == (batch.targets + 2) % 4).float().mean())
    print(f"accuracy {accuracy:.4f}; backwards, the opposite class {opposite:.4f}; motion share p(x) - p(frozen) = "
          f"{whole.mean():.3f} - {still.mean():.3f} = {(whole - still).mean():.3f}")
    assert accuracy >= 0.98
    assert opposite >= 0.95
    assert still.mean() <= 0.35


def test_hold_is_the_fill_and_blur_is_none() -> None:
    """A fill is to take away what it covers. Held frames show no motion, and the class is a guess; blurred ones move as before,
    and the model says what it said. So a curve of deletion by blur would say that no frame matters."""
    found = {fill: contrast(fill) for fill in ("hold", "blur", "black", "mean", "mean-frame", "reverse")}
    held = of_class(without("hold", span=True)).mean()
    print("contrast:", ", ".join(f"{fill} {value:.3f}" for fill, value in found.items()), f"; p with the span held {held:.3f}")
    assert found["hold"] >= 0.6
    assert found["blur"] <= 0.1


def test_training_gives_the_same_weights_again() -> None:
    def trained() -> dict[str, Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model = MotionNet(4)
            recipe = train_motion.Recipe(pool=16, epochs=1, batch=8, rate=1e-2)
            train_motion.fitted(model, *train_motion.clips(5, 16), recipe, train_motion.shown)
        return model.state_dict()

    one, other = trained(), trained()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_what_training_shows_is_a_clip_of_its_class() -> None:
    """Turned, moved and run backwards, the item still keeps the direction of the class."""
    torch.manual_seed(0)
    blank = torch.zeros(1, 3, FRAMES, SIZE, SIZE, dtype=torch.uint8)
    for t in range(4):
        blank[:, :, t, 10, 3 + STRIDE * t] = 255
    for _ in range(12):
        x, y = train_motion.shown(blank, torch.tensor([0]))
        lit = torch.stack([(x[0, 0, t] > x.min()).nonzero()[0] for t in range(FRAMES) if (x[0, 0, t] > x.min()).any()])
        steps = torch.remainder(lit.diff(dim=0), SIZE).numpy()
        assert (steps == STRIDE * DIRECTIONS[int(y)] % SIZE).all()


# ----------------------------------------------------------------------------------------------------------------- task


def test_the_task_gives_batches_of_clips() -> None:
    task = tasks.load("motion-items")
    loaded = task.load(0, 3, motion_net())
    batch = task.batch(0, 3, motion_net())
    assert batch.medium is media.CLIP
    assert batch.space == tuple(task.document["input_size"]) == (FRAMES, SIZE, SIZE)
    assert batch.truth["mask"].shape == (3, FRAMES, SIZE, SIZE)
    assert torch.equal(loaded.inputs, batch.inputs)
    raw = torch.stack([task.source.load(item).image for item in task.items[:3]])
    assert torch.equal((batch.raw() * 255).round().to(torch.uint8), raw)
    assert len({item.cluster for item in task.items}) == len(task.items) == 200


def test_every_score_of_the_card_is_a_number_on_clips() -> None:
    task, model = tasks.load("motion-items"), motion_net()
    batch = task.batch(0, 6, model)
    maps = vxp.explain(model.module, batch.inputs, "grad-cam", batch.targets, normalization=facts(model))
    assert maps.shape[1:] == (FRAMES, 8, 8)
    said = vxp.score(model.module, batch.inputs, maps, batch.targets, truth=batch.truth["mask"], metrics=task.metrics,
                     explainer="grad-cam", normalization=facts(model))
    assert len(said) == len(task.metrics)
    for name, score in said.items():
        assert all(status == "ok" for status in score.status), (name, score.status)


def test_motion_finds_the_distractor_as_well() -> None:
    """The reference that sees every motion is far from the truth, and below a method that sees the model."""
    batch = fresh().select(range(60))
    model, found = motion_net(), {}
    for name in ("motion", "random", "grad-cam"):
        maps = explainers.bind(name)(model.module, batch)
        scores = vxp.score(model.module, batch.inputs, maps, batch.targets, truth=batch.truth["mask"],
                           metrics=("mask-auc", "energy-pointing-game"), normalization=facts(model))
        found[name] = {metric: float(score.values.mean()) for metric, score in scores.items()}
    print({name: {metric: round(value, 3) for metric, value in scores.items()} for name, scores in found.items()})
    auc = {name: scores["mask-auc@1"] for name, scores in found.items()}
    assert auc["random"] < 0.55 < auc["motion"] < auc["grad-cam"]
    assert found["motion"]["energy-pointing-game@1"] < 0.1
