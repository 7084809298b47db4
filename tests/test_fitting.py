"""`vxp fit` end to end on the shapes: trained, used, refused; classes that were not trained; every method that can."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from vxp import datasets, models
from vxp.core import VxpError
from vxp.datasets import stamps_training
from vxp.documents import store
from vxp.runs import commands, fitting
from vxp.runs.commands import Lesson, Order
from vxp.runs.context import Quiet

QUICK = "l-cam-img|epochs:1|batch:8"


def lesson(explainer: str = QUICK, **changes: object) -> Lesson:
    given: dict = {"model": "shapes-cnn", "data": "shapes", "images": None, "count": 24, "seed": 700, "device": "cpu",
                   "threads": 1}
    return Lesson(explainer, **(given | changes))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fit") / "mine.safetensors"
    commands.fit(lesson(), out, Quiet())
    return out


def ordered(explainer: str, **changes: object) -> Order:
    given: dict = {"task": "shapes", "images": None, "model": None, "data": None, "explainers": (explainer,),
                   "metrics": ("deletion|steps:2", "random-logit", "entropy"), "device": "cpu", "limit": 10, "batch_size": 16,
                   "threads": 1}
    return Order(**(given | changes))


def test_what_was_trained_explains(weights: Path, tmp_path: Path) -> None:
    card = json.loads(weights.with_suffix(".json").read_bytes())
    assert card["data"]["dataset"] == "shapes@1"
    assert card["data"]["images"] == 24
    assert card["recipe"]["epochs"] == 1
    assert not weights.with_suffix(".checkpoint").exists()
    (path,) = [p for p in commands.run_(ordered(f"l-cam-img|weights:{weights}"), tmp_path / "out", Quiet())
               if "l-cam" in p.parent.name]
    document = json.loads(path.read_bytes())
    assert {s["signature"].split("@")[0]: s["n"] for s in document["scores"]} == {"deletion": 10, "random-logit": 10,
                                                                                  "entropy": 10}
    system = json.loads((tmp_path / "out" / "systems" / f"{path.parent.name}.json").read_bytes())
    assert system["trained_components"] == [{"name": "mine", "weights": card["weights"]}]
    assert system["method"]["needs"]["training_data"]


def without(weights: Path, classes: set[int], tmp_path: Path) -> Path:
    """The same weights, which say that these classes were not trained."""
    card = json.loads(weights.with_suffix(".json").read_bytes())
    card["trained_classes"] = {k: n for k, n in card["trained_classes"].items() if int(k) not in classes}
    out = tmp_path / "less.safetensors"
    store.write_bytes(out, weights.read_bytes())
    out.with_suffix(".json").write_text(json.dumps(card))
    return out


def test_a_class_that_was_not_trained_is_never_scored(weights: Path, tmp_path: Path) -> None:
    less = without(weights, {0, 3}, tmp_path)
    (path,) = [p for p in commands.run_(ordered(f"l-cam-img|weights:{less}"), tmp_path / "out", Quiet())
               if "l-cam" in p.parent.name]
    table = pq.read_table(path.parent / "samples.parquet").to_pydict()
    unknown = [target in (0, 3) for target in table["target"]]
    assert sum(unknown) >= 2
    for signature in ("deletion@1|steps:2|fill:mean", "entropy@1"):
        status = table[f"{signature}#status"]
        assert [s == "failed:untrained-class" for s in status] == unknown
        assert [v is None for v in table[signature]] == unknown
    # another class is drawn there: it may be one of them as well
    others = table[next(k for k in table if k.startswith("random-logit") and k.endswith("#status"))]
    assert set(others) == {"ok", "failed:untrained-class"}
    assert sum(s != "ok" for s in others) > sum(unknown)


def test_where_no_class_was_trained_nothing_is_run(weights: Path, tmp_path: Path) -> None:
    none = without(weights, set(range(8)), tmp_path)
    (path,) = [p for p in commands.run_(ordered(f"l-cam-img|weights:{none}"), tmp_path / "out", Quiet())
               if "l-cam" in p.parent.name]
    document = json.loads(path.read_bytes())
    assert [(s["n"], s["statuses"]) for s in document["scores"]] == [(10, {"failed:untrained-class": 10})] * 3
    assert document["cost"]["score"]["rows_run"] == 0


def test_all_means_every_method_that_can(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task, model = commands._task(order := ordered("all"))
    able = {bound.id for bound in commands._able(order, task, model)}
    assert {"grad-cam", "saliency", "rise"} <= able
    assert "attention-rollout" not in able
    assert "attention-rollout is left out" in caplog.text


@pytest.mark.parametrize(("explainer", "change", "says"), [
    ("grad-cam", {}, "explainer 'grad-cam' is not trained"),
    ("tame|epoch:3", {}, "has no parameter 'epoch'; did you mean 'epochs'"),
    ("tame|epochs:many", {}, "parameter 'epochs': got 'many'"),
    ("tame", {"recipe": "vgg"}, "has no recipe 'vgg'; did you mean 'vgg16'"),
    ("tame", {"data": None}, "name a data set with --data"),
    ("tame", {"seed": 0}, "task shapes@1 scores the images of shapes with seed 0"),
    ("tam", {}, "no explainer is called 'tam'"),
])
def test_bad_lessons_are_named(explainer: str, change: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(VxpError, match=says):
        commands.fit(lesson(explainer, **change), tmp_path / "w.safetensors", Quiet())
    assert not list(tmp_path.iterdir())


def test_weights_are_a_safetensors_file(tmp_path: Path) -> None:
    with pytest.raises(VxpError, match=r"expected a file NAME.safetensors"):
        commands.fit(lesson(), tmp_path / "w.pt", Quiet())


# ------------------------------------------------------------------------------------------------------ stamps-training


def test_one_stamp_of_every_shared_class_is_held_out() -> None:
    from vxp.datasets.stamps import mapping

    held = stamps_training.held_out()
    shared = [classes for classes in set(mapping().values()) if list(mapping().values()).count(classes) > 1]
    assert len(held) == len(shared) == 11
    assert {mapping()[stamp] for stamp in held} == set(shared)
    assert "animals/mammals/cats/tiger" in held


@pytest.mark.skipif(datasets.source("stamps").missing() is not None, reason="no stamps here: vxp data get stamps")
def test_training_images_share_nothing_with_those_that_are_scored() -> None:
    source = datasets.source("stamps-training")
    items = [item for item, _ in zip(source.propose(0), range(106), strict=False)]
    assert not {item.cluster for item in items} & set(stamps_training.held_out())
    assert len({item.cluster for item in items}) == 106
    first = source.load(items[0])
    assert torch.equal(first.image, source.load(items[0]).image)
    assert first.image.shape == (3, 224, 224)
    mask = first.truth["mask"]
    assert 0 < int(mask.sum()) < mask.numel()
    ground = stamps_training.ground(0, items[0].cluster, 0)
    outside = torch.from_numpy(ground.astype("uint8")).permute(2, 0, 1)[:, ~mask]
    assert float((outside == first.image[:, ~mask]).float().mean()) > 0.9  # but for half-transparent edges


def test_images_are_those_that_the_model_gets_right() -> None:
    model = models.load("shapes-cnn")
    chosen = fitting.images(datasets.source("shapes"), model, 16, fitting.Terms(9, "cpu", "fp32", 1, Quiet()))
    batch = chosen.batch(range(16))
    with torch.no_grad():
        assert torch.equal(model.module(batch.inputs).argmax(1), batch.targets)
    assert all(int(t) in item.label for t, item in zip(batch.targets, chosen.items, strict=True))
    assert safetensors.torch.save({"x": batch.inputs}) == safetensors.torch.save({"x": chosen.batch(range(16)).inputs})
