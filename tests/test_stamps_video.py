"""The task stamps-video: clips of two stamps, the model of frames, what the truth says of maps, the commands."""

from __future__ import annotations

import hashlib
import itertools
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle_tools import STATEMENT, commanded
from PIL import Image
from vxp import explainers, media, models, tasks
from vxp.bench import stamps_video as bench
from vxp.core import Batch
from vxp.datasets import Item, photos, stamps, stamps_video
from vxp.datasets.stamps_video import FRAMES, PAN, SIZE, SPAN, chosen, known, load, propose
from vxp.maintain import freeze
from vxp.models import Model

pytestmark = pytest.mark.skipif(bool(stamps.missing()), reason="needs the stamps: vxp data get stamps")
pytest.importorskip("efficientnet_lite_pytorch", reason="needs vxp[demo]")

METRICS = "t-pointing,t-iou,mask-auc,frame-deletion,entropy"


@cache
def model() -> Model:
    return models.load("efficientnet-lite0-frames")


@cache
def task() -> tasks.Task:
    return tasks.load("stamps-video")


@cache
def candidates() -> list[Item]:
    """Of a seed that the task does not have."""
    return list(itertools.islice(propose(bench.FRESH), 120))


@cache
def batch() -> Batch:
    """Both items of six clips."""
    return task().batch(0, 12, model())


def mean(scores: dict[str, float], metric: str) -> float:
    return next(value for name, value in scores.items() if name.startswith(f"{metric}@"))


# ----------------------------------------------------------------------------------------------------------------- data


def test_clips_have_the_same_bytes_on_every_machine() -> None:
    samples = [load(item) for item in candidates()[:8]]
    found = hashlib.sha256(b"".join(s.image.numpy().tobytes() + s.truth["mask"].numpy().tobytes() for s in samples)).hexdigest()
    assert found == "f26692c0fce72d8f9c9c813f2f37bc69581853b6ccf8f596e37fa830739b7f90"


def test_a_clip_is_its_ground_moved_and_the_stamps_laid_on_it() -> None:
    """Every pixel again from the photo, the stamps' files and the recipe."""
    folder = stamps.located()
    assert folder is not None
    for item in candidates()[:6:2]:
        recipe, sample = item.recipe, load(item)
        scene = np.asarray(Image.open(photos.located(stamps.GROUNDS[recipe["ground"]])).convert("RGB"))  # type: ignore[arg-type]
        for t in range(FRAMES):
            expected, truth = scene.astype(float), np.zeros(scene.shape[:2], bool)
            for role in ("target", "distractor"):
                stamp = recipe[role]
                if stamp["begin"] <= t < stamp["begin"] + SPAN:
                    cut = np.asarray(stamps.cut_out(stamp["stamp"], stamp["size"], folder), dtype=float)
                    x, y = stamp["place"]
                    where = np.s_[y : y + len(cut), x : x + cut.shape[1]]
                    expected[where] += (cut[..., :3] - expected[where]) * cut[..., 3:] / 255
                    truth[where] = (cut[..., 3] > 127) & (role == "target")
            left, top = (start + step * t for start, step in zip(recipe["window"], recipe["pan"], strict=True))
            view = np.s_[top : top + SIZE, left : left + SIZE]
            assert np.abs(sample.image[:, t].permute(1, 2, 0).numpy() - expected[view]).max() <= 0.5 + 1e-9, item.id
            assert np.array_equal(sample.truth["mask"][t].numpy(), truth[view]), item.id


def test_stamps_are_seen_whole_and_never_together() -> None:
    for item in candidates():
        recipe = item.recipe
        begins = sorted(recipe[role]["begin"] for role in ("target", "distractor"))
        assert 0 <= begins[0] <= begins[1] - SPAN <= FRAMES - 2 * SPAN
        assert max(map(abs, recipe["pan"])) <= PAN
        for t in range(FRAMES):
            corner = [start + step * t for start, step in zip(recipe["window"], recipe["pan"], strict=True)]
            assert 0 <= min(corner) <= max(corner) <= stamps.GROUND_SIDE - SIZE
            for stamp in (recipe["target"], recipe["distractor"]):
                if stamp["begin"] <= t < stamp["begin"] + SPAN:
                    inside = [place - edge for place, edge in zip(stamp["place"], corner, strict=True)]
                    assert 0 <= min(inside) <= max(inside) <= SIZE - stamp["size"]


def test_a_clip_gives_both_stamps_as_target_once() -> None:
    for one, other in zip(candidates()[::2], candidates()[1::2], strict=True):
        assert one.cluster == other.cluster
        assert not set(one.label) & set(other.label)
        assert (one.recipe["target"], one.recipe["distractor"]) == (other.recipe["distractor"], other.recipe["target"])
    first, second = (load(item) for item in candidates()[:2])
    assert torch.equal(first.image, second.image)
    frames = [sample.truth["mask"].flatten(1).any(1) for sample in (first, second)]
    assert [int(f.sum()) for f in frames] == [SPAN, SPAN]
    assert not (frames[0] & frames[1]).any()


def test_every_stamp_is_drawn_as_often_as_any_other() -> None:
    of = [item.recipe["target"]["stamp"] for item in candidates()]
    counts = {stamp: of.count(stamp) for stamp in known()}
    assert sum(counts.values()) == len(of)
    assert max(counts.values()) - min(counts.values()) <= 2


def test_the_frozen_list_is_of_whole_clips() -> None:
    items = task().items
    pairs = list(zip(items[::2], items[1::2], strict=True))
    assert len(pairs) == 48
    assert all(one.cluster == other.cluster for one, other in pairs)
    assert len({one.cluster for one, _ in pairs}) == 48
    assert all(item.target in item.label for item in items)


# ---------------------------------------------------------------------------------------------------------------- model


def test_the_model_fuses_what_it_sees_in_every_frame() -> None:
    """The fusion that the document declares, on the frames one by one."""
    clip = batch().inputs[:1]
    alone = models.load("efficientnet-lite0")
    with torch.no_grad():
        frames = torch.cat([alone.module(clip[:, :, t]) for t in range(FRAMES)]).double()
        fused = model().module(clip)[0].double()
    assert model().document["architecture"]["kwargs"] == {"model": "efficientnet-lite0", "fusion": "log-mean-exp"}
    assert torch.allclose(fused, frames.exp().mean(0).log(), atol=1e-4)


@pytest.mark.parametrize(("logits", "expected"), [
    ({5: 9.0, 7: 8.0}, 5), ({5: 8.0, 7: 9.0}, 5), ({5: 8.0, 6: 8.5, 7: 9.0}, 6), ({5: 8.0, 7: 9.0, 3: 8.5}, None),
    ({5: 9.0, 7: 8.0, 3: 8.5}, None), ({3: 9.0}, None), ({7: 9.0, 8: 8.5, 5: 8.0}, 5),
])
def test_right_of_a_pair_is_right_of_both(
    logits: dict[int, float], expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target is 5 or 6, the distractor 7 or 8, and 3 is neither."""
    monkeypatch.setattr(stamps_video, "mapping", lambda: {"one": (5, 6), "two": (7, 8)})
    item = Item("clip/one", "clip", {"target": {"stamp": "one"}, "distractor": {"stamp": "two"}})
    said = torch.zeros(10)
    for c, value in logits.items():
        said[c] = value
    assert chosen(item, said) == expected


def test_the_model_is_right_of_most_planted_pairs() -> None:
    """Pairs that no list has chosen; python -m vxp.bench.stamps_video takes 200 of them."""
    share = bench.right_pairs(freeze.predictor(model()), 40)
    print(f"right of {share:.3f} of 40 fresh pairs")
    assert share >= 0.7


def test_the_model_is_sure_of_the_stamps_that_are_drawn() -> None:
    """A twelfth of them, and of those that are not drawn."""
    predict = freeze.predictor(models.load("efficientnet-lite0"))
    left_out = sorted(set(stamps.mapping()) - set(known()))
    for stamp in (*known()[::12], *left_out[::24]):
        right = sum(int(predict(image).argmax()) in stamps.mapping()[stamp] for image in bench.alone(stamp))
        assert (right >= bench.SURE) == (stamp in known()), (stamp, right)


# ----------------------------------------------------------------------------------------------------------------- task


def test_the_task_gives_batches_of_clips() -> None:
    assert batch().medium is media.CLIP
    assert batch().space == tuple(task().document["input_size"]) == (FRAMES, SIZE, SIZE)
    raw = torch.stack([task().source.load(item).image for item in task().items[:12]])
    assert torch.equal((batch().raw() * 255).round().to(torch.uint8), raw)


def test_references_that_never_saw_the_model_do_not_know_when() -> None:
    """A map that does not ask for the target is right in one of a clip's two items at most; the graded truth in all."""
    found = bench.truth_scores(("edges", "motion", "oracle"), 12)
    print({name: round(mean(scores, "t-pointing"), 3) for name, scores in found.items()})
    for name in ("edges", "motion"):
        assert mean(found[name], "t-pointing") <= 0.5
    assert set(found["oracle"].values()) == {1.0}


def test_grad_cam_sees_when_the_target_is_there() -> None:
    found = bench.truth_scores(("grad-cam", "motion"), 12)
    print({metric: round(value, 3) for metric, value in found["grad-cam"].items()})
    assert mean(found["grad-cam"], "t-iou") >= 0.8
    assert all(value < 1 for metric, value in found["grad-cam"].items() if not metric.startswith("t-"))
    assert all(value > found["motion"][metric] for metric, value in found["grad-cam"].items())


def test_grad_cam_has_a_step_for_every_frame() -> None:
    """Its grid has a step for every frame, so no frame's map reaches another's; channels are weighed over the clip."""
    maps = explainers.bind("grad-cam")(model().module, batch())
    assert maps.shape == (12, FRAMES, 5, 5)


# ------------------------------------------------------------------------------------------------------------- commands


def test_the_task_goes_through_all_commands(tmp_path: Path) -> None:
    settings = "--threads 1 --device cpu --batch-size 4"
    run, statement = tmp_path / "run", tmp_path / "statement.json"
    commanded(f"run stamps-video --limit 2 --explainer grad-cam --metrics {METRICS} --out {run} {settings}")
    scores = json.loads(next(run.glob("results/*-grad-cam-*/result.json")).read_bytes())["scores"]
    assert {s["metric"]["id"]: s["statuses"] for s in scores} == {m: {"ok": 2} for m in METRICS.split(",")}
    statement.write_text(json.dumps(STATEMENT | {"submission_id": "clips"}))
    commanded(f"seal {run} --explainer grad-cam --submission {statement} --out {tmp_path / 'bundle'}")
    assert "(0 errors" in commanded(f"validate {tmp_path / 'bundle'}")
    commanded(f"verify {tmp_path / 'bundle'} --all {settings} --out {tmp_path / 'audit.json'}")
    assert json.loads((tmp_path / "audit.json").read_bytes())["predicate"]["verdict"] == "reproduced"
