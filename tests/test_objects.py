"""Regions as explanations, the objects in videos, and models that look at every frame by itself."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vxp
from bundle_tools import Broken, sealed
from torch import Tensor, nn
from vxp import explainers, kinds, models, tasks
from vxp.core import Batch, Case, VxpError
from vxp.core.case import means_of_labels
from vxp.datasets import montage, montage_objects
from vxp.documents import regions
from vxp.engine import Engine, Job
from vxp.kinds import REGIONS, REGIONS3D, painted
from vxp.metrics import bind_all
from vxp.models.sequences import FrameScorer, Scorer
from vxp.runs import run
from vxp.runs.context import Context, Settings
from vxp.validation import validate

if TYPE_CHECKING:
    from conftest import Vxp

needs_photos = pytest.mark.skipif(bool(montage.MONTAGE.missing()), reason="needs the photos of vxp[demo]")
T, H, W = 6, 4, 5
METRICS = ("object-disc-plus", "object-disc-minus", "object-deletion")

# -------------------------------------------------------------------------------------------------------------- regions


def planes(labels: list[list[int]], scores: list[float]) -> Tensor:
    return painted(torch.tensor([labels]), torch.tensor([scores]))


def images(n: int = 1, side: tuple[int, int] = (2, 3)) -> Batch:
    return Batch(tuple(map(str, range(n))), torch.rand(n, 3, *side), torch.zeros(n, dtype=torch.long))


def test_regions_are_painted_with_their_scores() -> None:
    made = planes([[0, 1, -1], [1, 1, 0]], [0.5, -2.0])
    assert made.tolist() == [[[[0, 1, -1], [1, 1, 0]], [[0.5, -2.0, 0.0], [-2.0, -2.0, 0.5]]]]
    assert list(regions.faults(made[0].numpy())) == []


@pytest.mark.parametrize(("labels", "scores", "said"), [
    ([[0.5, 0], [0, 0]], [[1, 1], [1, 1]], "number 0.5, expected whole numbers"),
    ([[-2, 0], [0, 0]], [[1, 1], [1, 1]], "number -2"), ([[-1, -1], [-1, -1]], [[0, 0], [0, 0]], "no region"),
    ([[0, 2], [0, 0]], [[1, 1], [1, 1]], "no position lies in region 1"), ([[9, 9], [9, 9]], [[1, 1], [1, 1]], "there are 4"),
    ([[-1, 0], [0, 0]], [[1, 1], [1, 1]], "1 positions in no region have a score"),
    ([[0, 0], [1, 1]], [[1, 2], [3, 3]], "region 0 have several scores"),
])
def test_what_is_no_regions_is_told(labels: Any, scores: Any, said: str) -> None:
    given = np.array([labels, scores], np.float32)
    assert any(said in fault for fault in regions.faults(given))
    batch = images(side=(2, 2))
    with pytest.raises(VxpError, match="explainer 'x': item 0"):
        REGIONS.checked(torch.from_numpy(given)[None], batch, "explainer 'x'")


def test_regions_of_equal_score_go_one_after_another() -> None:
    made = planes([[1, 0, 1], [0, 2, -1]], [0.5, 0.5, 1.0])
    case = Case(images(), made, "none", explained=REGIONS)
    # region 2, then 0 and 1 of one score by their number, then what lies in none
    assert case.order.tolist() == [[4, 1, 3, 0, 2, 5]]
    assert case.map.tolist() == [[[0.5, 0.5, 0.5], [0.5, 1.0, 0.0]]]


def test_what_is_defined_for_maps_is_defined_for_regions() -> None:
    torch.manual_seed(0)
    model, batch = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), images(2, (4, 4))
    labels = torch.arange(16).view(4, 4) // 6
    made = painted(labels.expand(2, 4, 4), torch.tensor([[0.1, 0.9, 0.5]] * 2))
    found = vxp.score(model, batch.inputs, made, metrics=("deletion|steps:4", "gini"), kind="regions")
    plain = vxp.score(model, batch.inputs, made[:, 1], metrics=("deletion|steps:4", "gini"))
    assert [s.status for s in found.values()] == [("ok", "ok")] * 2
    # 4 and 8 of 16 positions end inside a region, whose positions go by index in both
    assert all(torch.equal(a.values, b.values) for a, b in zip(found.values(), plain.values(), strict=True))
    (other,) = vxp.score(model, batch.inputs, made, metrics=("st-deletion",), kind="regions").values()
    assert other.status[0] == "not-run:kind"


@pytest.mark.parametrize(("given", "said"), [
    (torch.rand(1, 4, 4), "expected a tensor"), (torch.rand(1, 2, 3, 3), r"expected \(1, 2, 4, 4\)"),
    (torch.rand(1, 3, 4, 4), r"expected \(1, 2, 4, 4\)")])
def test_regions_of_another_form_are_refused(given: Tensor, said: str) -> None:
    model, batch = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), images(1, (4, 4))
    with pytest.raises(VxpError, match=said):
        vxp.score(model, batch.inputs, given, metrics=("gini",), kind="regions")
    with pytest.raises(VxpError, match="no kind of explanation is called 'region'; did you mean 'regions'"):
        vxp.score(model, batch.inputs, given, metrics=("gini",), kind="region")


# -------------------------------------------------------------------------------------------------------------- objects


class Mean(nn.Module):
    """The mean of every channel of a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, frames: Tensor) -> Tensor:
        self.seen += len(frames)
        return frames.mean((2, 3))


class First(nn.Module):
    """The first feature of every step, less a little of what all steps have."""

    def forward(self, features: Tensor) -> Tensor:
        return features[..., 0] - 0.1 * features[..., 1].mean(1, keepdim=True)


def videos() -> Batch:
    """Two videos of two shots with three objects each, one of which fills a shot; brightness orders the frames."""
    x = torch.zeros(2, 3, T, H, W)
    x[:, 0] += torch.tensor([0.1, 0.3, 0.2, 0.6, 0.5, 0.4]).view(T, 1, 1)
    labels = torch.full((2, T, H, W), -1)
    labels[:, :3, :2, :2], labels[:, 3:] = 0, 1
    labels[:, 3:, 2:, 3:] = 2
    x[1, 0, 3:, 2:, 3:] = 3.0  # an object that makes its frames bright
    return Batch(("a", "b"), x, torch.full((2,), -1), parts={
        "object": labels.flatten(1), "fragment": torch.tensor([0, 0, 0, 1, 1, 1]).expand(2, T)})


def scorer() -> FrameScorer:
    return FrameScorer(Mean(), Scorer(First(), "btd")).eval()


def test_the_mean_over_an_object() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert means_of_labels(values, torch.tensor([[0, -1, 1, 1]])).tolist() == [[1.0, 3.5]]


def test_only_frames_that_change_are_seen_again() -> None:
    batch, model = videos(), scorer()
    engine = Engine(model, 4)
    maps = explainers.bind("object-leave-one-out")(model, batch)
    engine.tally.frames = 0
    engine.score(Job(Case(batch, maps, "none", explained=REGIONS3D), bind_all(["object-deletion"])))
    # of ten rows of six frames: both videos as they are, and three frames of each object and of two together
    assert engine.tally.run == 10
    assert engine.tally.frames <= 2 * (T + 3 * (3 + 1))


def test_rows_of_frames_are_those_of_the_whole_clip() -> None:
    batch, model = videos(), scorer()

    class Whole(Scorer):
        def forward(self, clips: Tensor) -> Tensor:
            return model(clips)

    maps = torch.rand(2, T, H, W, generator=torch.Generator().manual_seed(1))
    asked = bind_all(["object-disc-plus|fill:mean", "object-disc-plus|rank:2|mode:sequential", "object-deletion|fill:hold"])
    one, other = (Engine(m, 3).score(Job(Case(batch, maps), asked)) for m in (model, Whole(nn.Identity()).eval()))
    for signature in one:
        assert one[signature].status == other[signature].status
        assert torch.allclose(one[signature].values, other[signature].values, equal_nan=True)


def test_leaving_an_object_out_by_hand() -> None:
    batch, model = videos(), scorer()
    made = explainers.bind("object-leave-one-out|explanandum:mean-score")(model, batch)
    labels = made[:, 0].long().flatten(1)
    assert torch.equal(labels, batch.parts["object"])
    gone = batch.inputs[0].clone()
    gone[:, 3:, 2:, 3:] = 0.0
    expected = model(batch.inputs[:1]).mean() - model(gone[None]).mean()
    assert made[0, 1, 3, 2, 3] == pytest.approx(float(expected), abs=1e-6)
    assert bool((made[:, 1].flatten(1)[labels < 0] == 0).all())


def test_lime_of_objects_asks_one_shot_at_a_time() -> None:
    batch, model = videos(), scorer()
    made = explainers.bind("object-lime|explanandum:mean-score|ridge:0.000001|kernel_width:1000")(model, batch)
    alone = explainers.bind("object-leave-one-out|explanandum:mean-score")(model, batch)
    # the mean is additive over objects that do not share positions, so all coalitions say what each alone does
    assert torch.allclose(made, alone, atol=1e-4)


def test_an_object_that_decides_the_order_is_told_from_one_that_does_not() -> None:
    batch, model = videos(), scorer()
    made = explainers.bind("object-leave-one-out")(model, batch)
    scores = [[float(made[i, 1].flatten()[batch.parts["object"][i] == k][0]) for k in range(3)] for i in range(2)]
    assert scores[0][0] == 0.0  # a dark object on black changes no order
    assert max(range(3), key=lambda k: scores[0][k]) == 1  # without its brightest part the second shot falls behind the first


@pytest.mark.parametrize("name", ["object-lime", "object-leave-one-out"])
def test_objects_must_be_there(name: str) -> None:
    batch = videos()
    bare = Batch(batch.ids, batch.inputs, batch.targets, parts={"fragment": batch.parts["fragment"]})
    with pytest.raises(VxpError, match="not divided into objects"):
        explainers.bind(name)(scorer(), bare)
    with pytest.raises(VxpError, match="expected one of"):
        explainers.bind(f"{name}|explanandum:frame-score")(scorer(), batch)


def test_a_notebook_scores_objects() -> None:
    batch, model = videos(), vxp.frame_scores(First(), features=Mean())
    labels = batch.parts["object"].view(2, T, H, W)
    maps = vxp.explain(model, batch.inputs, "object-leave-one-out", objects=labels)
    assert maps.shape == (2, 2, T, H, W)
    found = vxp.score(model, batch.inputs, maps, objects=labels, kind="regions3d", metrics=("object-deletion",))
    assert found["object-deletion"].status == ("ok", "ok")


@pytest.mark.parametrize(("objects", "said"), [
    (torch.zeros(2, 3, 3).long(), "expected the number"), (torch.zeros(2, T, H, W), "float32"),
    (torch.full((2, T, H, W), -1), "no object"), (torch.full((2, T, H, W), 3), "without a gap"),
    (torch.full((2, T, H, W), -2), "-2")])
def test_label_maps_that_are_none_are_refused(objects: Tensor, said: str) -> None:
    batch, model = videos(), scorer()
    with pytest.raises(VxpError, match=said):
        vxp.explain(model, batch.inputs, "object-leave-one-out", objects=objects)


# ------------------------------------------------------------------------------------------------------ montage-objects


@needs_photos
def test_objects_of_a_video_are_numbered_shot_by_shot() -> None:
    item = next(montage_objects.propose(0))
    sample = montage_objects.load(item)
    labels = sample.parts["object"]
    assert sample.image.shape == (3, 40, montage.SIZE, montage.SIZE)
    assert labels.shape == (40, montage.SIZE, montage.SIZE)
    assert sorted(labels.unique().tolist()) == list(range(-1, item.recipe["objects"]))
    assert sample.timeline is not None
    shots = sample.timeline.parts()["fragment"]
    seen = [sorted(set(labels[shots == shot].unique().tolist()) - {-1}) for shot in range(10)]
    assert [number for some in seen for number in some] == list(range(item.recipe["objects"]))
    # a camera that pans over a photo: an object moves by the pan of its shot
    video = montage.load(item).image[:, ::montage_objects.STEP]
    assert torch.equal(video, sample.image)


@needs_photos
def test_another_segmentation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    item = next(montage_objects.propose(0))
    monkeypatch.setattr(montage_objects, "SMALLEST", 0.2)
    with pytest.raises(VxpError, match="the objects here have SHA-256"):
        montage_objects.load(item)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed run of one video of montage-objects."""
    folder = tmp_path_factory.mktemp("objects")
    task = tasks.load("montage-objects")
    model = models.load(task.model)
    run.run(Context.of(task, model, folder / "run", Settings(batch_size=16, threads=1, limit=1), METRICS),
            [explainers.bind("object-lime|samples:2")])
    return sealed(folder / "run", folder / "bundle", "object-lime")


@needs_photos
def test_objects_go_from_run_to_verification(whole: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    assert [f for f in validate(whole).findings if f["severity"] == "error"] == []
    said = vxp_line(run_vxp, f"verify {whole} --regenerate object-lime --out {tmp_path / 'audit.json'} --threads 1")
    assert "evidence E3" in said.stdout, said.stdout
    board = tmp_path / "board"
    assert vxp_line(run_vxp, f"leaderboard add {whole} --records {board / 'records'}").returncode == 0
    assert vxp_line(run_vxp, f"leaderboard build --records {board / 'records'} --out {board / 'site'}").returncode == 0
    assert any("object-disc-plus" in page.read_text() for page in (board / "site").rglob("*.html"))


def vxp_line(run_vxp: Vxp, line: str) -> Any:
    return run_vxp(*shlex.split(line))


def values(change: Callable[[Any], object]) -> Callable[[Broken], object]:
    return lambda b: b.tensors("shard", lambda t: change(t["values"]))


@needs_photos
@pytest.mark.parametrize(("code", "said", "change"), [
    ("VXP-C029", "several scores", values(lambda v: v[0, 1, 0, 0].__setitem__(0, 7.0))),
    ("VXP-C029", "whole numbers", values(lambda v: v[0, 0, 0, 0].__setitem__(0, 0.5))),
    ("VXP-C001", "U8", lambda b: b.tensors("shard", lambda t: t.update(values=t["values"].astype(np.uint8)))),
], ids=lambda value: value if isinstance(value, str) and value.startswith("VXP") else "")
def test_regions_of_a_bundle_that_are_none_are_found(
    whole: Path, tmp_path: Path, code: str, said: str, change: Callable[[Broken], object]
) -> None:
    broken = Broken(whole, tmp_path / "broken")
    change(broken)
    broken.seal(rows=False)
    found = [f for f in validate(broken.folder).findings if f["code"] == code]
    assert any(said in str(f) for f in found), found


def test_kinds_know_what_they_are_besides() -> None:
    assert kinds.admits(("heatmap2d",), "regions")
    assert kinds.admits(("heatmap3d",), "regions3d")
    assert not kinds.admits(("heatmap2d",), "regions3d")
    assert not kinds.admits(("regions",), "heatmap2d")
    assert set(kinds.MAPS) == {"heatmap2d", "heatmap3d"}
