"""Scores of the parts of videos: how they meet the steps, runs on features of one's own and on montage, what the validator
refuses, the audit, the report and the board."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import torch
import vxp
import vxp_schemas
from bundle_tools import STATEMENT, Broken, sealed
from safetensors.numpy import load_file
from torch import Tensor, nn
from vxp import explainers, models, tasks
from vxp.core import Batch, Case, Piece, Removed, Request, Unchanged, VxpError, Without
from vxp.datasets import Timeline, montage
from vxp.documents import store
from vxp.engine import Engine
from vxp.engine.rows import Rows
from vxp.kinds import KINDS, MAPS, TEMPORAL
from vxp.models.sequences import Scorer
from vxp.outputs import SEQUENCE
from vxp.report import timeline
from vxp.runs import run
from vxp.runs.context import Context, Settings
from vxp.validation import validate

if TYPE_CHECKING:
    from conftest import Vxp

needs_photos = pytest.mark.skipif(bool(montage.MONTAGE.missing()), reason="needs the photos of vxp[demo]")

OWN = '''
import torch
from torch import nn
from vxp import explainer


class Net(nn.Module):
    """A step is scored by its first feature and by what all steps have in common."""

    def __init__(self):
        super().__init__()
        self.common = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return (x[..., 0] - self.common * x[..., 1].mean(1, keepdim=True)).sigmoid(), x


def net():
    return Net(), {"output": "sequence", "features": 4}


def wide():
    return Net(), {"output": "sequence", "features": 9}


def classes():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2)), {"input_size": 8}


@explainer("first-feature", signed=False, resample="fragment", kinds=("temporal",), outputs=("sequence",),
           explanandum="mean-score", passes=0)
def first_feature(model, batch):
    of = batch.parts_of("fragment")
    return torch.stack([(batch.inputs[:, 0] * (of == k)).sum(1) / (of == k).sum(1) for k in range(int(of.max()) + 1)], 1)


@explainer("by-frame", signed=False, resample="frame", kinds=("temporal",), outputs=("sequence",),
           explanandum="mean-score", passes=0)
def by_frame(model, batch):
    return batch.inputs[:, 0]
'''
VIDEOS = {"long": (90, 6), "short": (60, 4), "twin": (60, 4)}
"""Frames and shots of the videos of a file; every third frame is looked at."""
METRICS = "disc-plus-2024,sv-2024,rank-correlation,rank-correlation|explanandum:rank-order"


def features(path: Path) -> Path:
    """Features of three videos, two of which are of one size."""
    draw = np.random.default_rng(7)
    with h5py.File(path, "w") as file:
        for name, (frames, shots) in VIDEOS.items():
            group, steps = file.create_group(name), frames // 3
            group["features"] = draw.random((steps, 4), dtype=np.float32)
            group["picks"], group["n_frames"] = np.arange(steps) * 3, frames
            starts = np.arange(shots) * (frames // shots)
            group["change_points"] = np.stack([starts, [*starts[1:] - 1, frames - 1]], 1)
    return path


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, explainers and features of one's own, and a run of them."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "own.py").write_text(OWN)
    task, model = opened(folder)
    run.run(Context.of(task, model, folder / "run", Settings(batch_size=16, threads=1), METRICS.split(",")),
            [explainers.bind(f"{folder / 'own.py'}:{name}") for name in ("first_feature", "by_frame")])
    return folder


def opened(folder: Path) -> tuple[tasks.Task, models.Model]:
    path = folder / "videos.h5"
    model = models.load(f"{folder / 'own.py'}:net")
    return tasks.opened_features(path if path.exists() else features(path), model), model


def vxp_line(run_vxp: Vxp, line: str) -> Any:
    return run_vxp(*shlex.split(line))


def words(folder: Path) -> str:
    return f"--features {shlex.quote(str(folder / 'videos.h5'))} --model {shlex.quote(str(folder / 'own.py'))}:net"


# -------------------------------------------------------------------------------------------------------- steps and parts


def test_the_worked_example_of_the_standard() -> None:
    """Clause 5.15.5."""
    video = Timeline(60, ((0, 20), (20, 60)), 15, (0, 12, 24, 36, 48))
    assert {unit: of.tolist() for unit, of in video.parts().items()} == {
        "fragment": [0, 0, 1, 1, 1], "second": [0, 0, 1, 2, 3]}
    assert video.segments("frame") == ((0, 12), (12, 24), (24, 36), (36, 48), (48, 60))
    assert video.segments("second") == ((0, 15), (15, 30), (30, 45), (45, 60))
    batch = Batch(("a",), torch.rand(1, 2, 5), torch.tensor([-1]), parts={u: of[None] for u, of in video.parts().items()})
    of_fragments = Case(batch, torch.tensor([[2.0, -1.0]]), "fragment")
    assert of_fragments.kind is TEMPORAL
    assert of_fragments.map.tolist() == [[2.0, 2.0, -1.0, -1.0, -1.0]]
    of_frames = Case(batch, torch.tensor([[1.0, 3.0, 0.0, 0.0, 6.0]]), "frame")
    assert of_frames.weights().tolist() == [[2.0, 2.0]]
    assert of_fragments.weights().tolist() == [[2.0, -1.0]]
    assert Case(batch, torch.tensor([[1.0, 2.0, 3.0, 4.0]]), "second").map.tolist() == [[1.0, 1.0, 2.0, 3.0, 4.0]]


def test_a_frame_of_a_clip_has_the_score_of_its_part() -> None:
    clip = Batch(("a",), torch.rand(1, 3, 4, 2, 3), torch.tensor([0]), parts={"fragment": torch.tensor([[0, 1, 1, 1]])})
    found = Case(clip, torch.tensor([[5.0, 7.0]])).map
    assert found.shape == (1, 4, 2, 3)
    assert [set(frame.flatten().tolist()) for frame in found[0]] == [{5.0}, {7.0}, {7.0}, {7.0}]


@pytest.mark.parametrize(("rule", "native", "said"), [
    ("fragment", (1, 3), r"\(1, 3\) by fragment, expected \[1, 2\]"), ("frame", (1, 2), r"by frame, expected \[1, 4\]"),
    ("second", (1, 2), "not divided into seconds"),
])
def test_scores_of_another_length_are_refused(rule: Any, native: tuple[int, ...], said: str) -> None:
    batch = Batch(("a",), torch.rand(1, 2, 4), torch.tensor([-1]), parts={"fragment": torch.tensor([[0, 0, 1, 1]])})
    with pytest.raises(VxpError, match=said):
        Case(batch, torch.rand(native), rule).map  # noqa: B018


def test_it_is_no_map_over_positions() -> None:
    assert "temporal" in KINDS
    assert "temporal" not in MAPS
    assert explainers.references((), "temporal") == ["random", "centre-gaussian", "leave-one-out"]


# ------------------------------------------------------------------------------------------------------------ rows of a video


def rows_of(edits: Sequence[Any], fill_case: Case | None = None) -> tuple[Tensor, Engine, Batch]:
    """The outputs [B, K, n] of two sequences of six steps in three fragments."""
    model = Scorer(nn.Linear(3, 1)).eval()
    batch = fill_case.batch if fill_case else sequences()
    engine = Engine(model, 4)
    rows = Rows(engine, batch, {})
    request = Request(tuple(edits), readout="output")
    rows.fetch([request], {} if fill_case is None else {fill_case.key: fill_case})
    return rows.read(request), engine, batch


def sequences() -> Batch:
    generator = torch.Generator().manual_seed(3)
    of = torch.tensor([[0, 0, 0, 1, 1, 2], [0, 1, 1, 2, 2, 2]])
    return Batch(("a", "b"), torch.rand(2, 3, 6, generator=generator), torch.full((2,), -1), parts={"fragment": of})


@pytest.mark.parametrize("fill", ["remove", "zero", "mean-step", "hold"])
def test_a_fragment_is_removed_by_every_fill(fill: str) -> None:
    torch.manual_seed(0)
    found, engine, batch = rows_of([Unchanged(), *(Without(Piece("fragment", k), fill) for k in range(3))])
    for i in range(2):
        x, of = batch.inputs[i], batch.parts["fragment"][i]
        assert torch.allclose(found[i, 0].float(), engine.model(x[None])[0])
        for k in range(3):
            gone = of == k
            if fill == "remove":
                expected = torch.zeros(6)
                expected[~gone] = engine.model(x[None][..., ~gone])[0]
            else:
                filled = x.clone()
                filled[:, gone] = {"zero": torch.zeros(3, 1), "mean-step": x.mean(1, keepdim=True)}.get(
                    fill, _held(x, gone)[:, gone])
                expected = engine.model(filled[None])[0]
            assert torch.allclose(found[i, k + 1].float(), expected, atol=1e-6), (i, k)


def _held(x: Tensor, gone: Tensor) -> Tensor:
    """Every step that goes shows the latest before it that stays, or the earliest after it."""
    kept = (~gone).nonzero().flatten().tolist()
    return torch.stack([x[:, max((s for s in kept if s <= t), default=kept[0])] for t in range(len(gone))], 1)


@pytest.mark.parametrize("fill", ["remove", "zero"])
def test_groups_of_an_order_are_removed(fill: str) -> None:
    case = Case(sequences(), torch.tensor([[0.2, 0.9, 0.5], [0.1, 0.2, 0.3]]), "fragment")
    place = torch.tensor([[2, 0, 1], [2, 1, 0]])
    order = case.grouped("fragments", lambda: place.gather(1, case.batch.parts["fragment"]))
    torch.manual_seed(0)
    found, engine, batch = rows_of([Removed(order, 0, 2, fill)], case)
    for i, left in ((0, 0), (1, 0)):
        stays = batch.parts["fragment"][i] == left
        x = batch.inputs[i]
        if fill == "remove":
            assert torch.allclose(found[i, 0][stays].float(), engine.model(x[None][..., stays])[0], atol=1e-6)
            assert not found[i, 0][~stays].any()
        else:
            assert torch.allclose(found[i, 0].float(), engine.model((x * stays)[None])[0], atol=1e-6)


def test_a_model_of_one_length_gives_not_run() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.rand(6))

        def forward(self, x: Tensor) -> Tensor:
            return x[..., 0] * self.weight

    found = vxp.score(vxp.frame_scores(Fixed()), torch.rand(2, 3, 6), torch.rand(2, 3), fragments=[(0, 2), (2, 4), (4, 6)],
                      metrics=("rank-correlation|fill:remove", "rank-correlation|fill:zero"))
    assert found["rank-correlation|fill:remove"].status == ("not-run:fixed-length",) * 2
    assert found["rank-correlation|fill:zero"].status == ("ok",) * 2


# ---------------------------------------------------------------------------------------------------------------- in memory


class Net(nn.Module):
    """Scores [B, n] and what else a summariser returns."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[..., :1].sigmoid(), x


@pytest.mark.parametrize(("layout", "shape"), [
    ("btd", lambda x: x), ("bdt", lambda x: x.transpose(1, 2)), ("td", lambda x: x[0]),
    ("bcthw", lambda x: x), ("btchw", lambda x: x)])
def test_a_model_is_given_the_axes_that_it_takes(layout: Any, shape: Callable[[Tensor], Tensor]) -> None:
    class Seen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.got = tuple(x.shape)
            return x.flatten(2).mean(2) if layout == "btd" else torch.zeros((5,) if layout == "td" else (1, 5))

    model = Seen()
    x = torch.rand(1, 7, 5) if layout in ("btd", "bdt", "td") else torch.rand(1, 3, 5, 2, 2)
    assert tuple(Scorer(model, layout)(x).shape) == (1, 5)
    assert model.got == {"btd": (1, 5, 7), "bdt": (1, 7, 5), "td": (5, 7), "bcthw": (1, 3, 5, 2, 2),
                         "btchw": (1, 5, 3, 2, 2)}[layout]
    with pytest.raises(VxpError, match="no layout is called 'tdb'"):
        Scorer(model, "tdb")  # type: ignore[arg-type]


def test_tensors_are_scored_in_one_call() -> None:
    model, x = vxp.frame_scores(Net()), torch.rand(3, 4, 8)
    ranges = [(0, 2), (2, 5), (5, 8)]
    of = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2])
    maps = vxp.explain(model, x, "leave-one-out", fragments=ranges)
    assert maps.shape == (3, 3)
    one, two = (vxp.score(model, x, maps, fragments=given, metrics=("rank-correlation|explanandum:rank-order",))
                for given in (ranges, of))
    assert one.to_dict() == two.to_dict()
    by_frame = vxp.score(model, x, x[:, 0], fragments=ranges, metrics=("rank-correlation",))
    means = torch.stack([x[:, 0, a:b].double().mean(1) for a, b in ranges], 1).float()
    again = vxp.score(model, x, means, fragments=ranges, metrics=("rank-correlation",))
    assert by_frame["rank-correlation"].values.tolist() == pytest.approx(again["rank-correlation"].values.tolist())
    assert vxp.score(model, x, maps, fragments=ranges, metrics=("gini",))["gini"].status == ("not-run:kind",) * 3


@pytest.mark.parametrize(("fragments", "said"), [
    ([(0, 2), (2, 4), (5, 7)], "range 2 is .5, 7. behind step 4.*inclusive, add 1"),
    ([(0, 2), (2, 5), (5, 7)], "ends at step 7, expected 8.*inclusive, add 1"),
    ([(0, 2), (1, 8)], "range 1 is .1, 8. behind step 2"), ([(0.0, 2.5), (2.5, 8.0)], "range 0 is"),
    (torch.zeros(8), "float32"), (torch.tensor([0, 0, 0, 0, 2, 2, 2, 2]), "without a gap"),
    ([[(0, 8)], [(0, 8)]], "2 lists for 3 items"), (torch.tensor([[0] * 8, [0, 1] * 4, [0] * 8]), r"items with \[1, 2\]"),
    (None, r"\(3, 3\) by frame, expected \[3, 8\]"),
])
def test_fragments_that_divide_nothing_are_refused(fragments: Any, said: str) -> None:
    with pytest.raises(VxpError, match=said):
        vxp.score(vxp.frame_scores(Net()), torch.rand(3, 4, 8), torch.rand(3, 3), fragments=fragments,
                  metrics=("rank-correlation",))


def test_what_is_no_summariser_is_refused() -> None:
    x, fragments = torch.rand(2, 4, 8), [(0, 4), (4, 8)]
    with pytest.raises(VxpError, match="has no classes"):
        vxp.score(vxp.frame_scores(Net()), x, torch.rand(2, 2), targets=[0, 1], fragments=fragments)
    with pytest.raises(VxpError, match=r"\[B, 3, H, W\]"):
        vxp.score(nn.Linear(8, 2), x, torch.rand(2, 2), fragments=fragments)
    with pytest.raises(VxpError, match="expected scores"):
        vxp.score(vxp.frame_scores(nn.Linear(4, 3)), x, torch.rand(2, 2), fragments=fragments)
    with pytest.raises(VxpError, match="output is classes, and the output of this model is sequence"):
        vxp.explain(vxp.frame_scores(Net()), x, "grad-cam", fragments=fragments)
    assert "equal for all steps" in SEQUENCE.doubts(torch.ones(2, 3), "the model")[0]
    assert not SEQUENCE.doubts(torch.tensor([[1.0, 2.0], [1.0, 1.0]]), "the model")


# ------------------------------------------------------------------------------------------------------- from run to board


def test_a_run_on_features_keeps_videos_of_every_size(desk: Path) -> None:
    (of_set,) = (desk / "run" / "explanations").glob("*first-feature*")
    document = json.loads((of_set / "set.json").read_text())
    assert (document["kind"], document["explainer"]["resample"], document["explainer"]["explanandum"]) == (
        "temporal", "fragment", "mean-score")
    kept = load_file(of_set / "payload" / "00000.safetensors")
    assert {name: tensor.shape for name, tensor in kept.items()} == {"values": (3, 6), "lengths": (3,), "segments": (3, 6, 2)}
    assert kept["lengths"].tolist() == [6, 4, 4]
    assert not kept["values"][1, 4:].any()
    assert kept["segments"][1].tolist() == [[0, 15], [15, 30], [30, 45], [45, 60], [0, 0], [0, 0]]
    items = store.read_described_table(of_set, document["items"])
    assert items["target"].to_pylist() == items["prediction"].to_pylist() == [-1] * 3
    assert set(items["target_source"].to_pylist()) == {"none"}
    task, model = opened(desk)
    means = [float(model.module(task.load(i, i + 1, model).inputs).detach().mean()) for i in range(3)]
    assert items["target_score"].to_pylist() == pytest.approx(means, abs=1e-6)
    (by_frame,) = (desk / "run" / "explanations").glob("*by-frame*")
    assert load_file(by_frame / "payload" / "00000.safetensors")["lengths"].tolist() == [30, 20, 20]


def test_what_no_map_decides_is_asked_by_the_size_of_a_video(desk: Path, tmp_path: Path) -> None:
    task, model = opened(desk)
    context = Context.of(task, model, tmp_path, Settings(), METRICS.split(","))
    assert list(context.ranges()) == [(0, 1), (1, 3)]
    for place, fragments in enumerate((6, 4, 4)):
        asked = context.wanted_of(place).edits
        assert asked == (Unchanged(), *(Without(Piece("fragment", k), "zero") for k in range(fragments)))
    cost = json.loads(next((desk / "run" / "results").glob("*/result.json")).read_text())["cost"]["run"]
    assert cost["rows_shared"] == 7 + 5 + 5


def test_a_run_on_features_is_sealed_validated_and_verified(desk: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    for name in ("first-feature", "by-frame"):
        bundle = sealed(desk / "run", tmp_path / name, name)
        found = validate(bundle)
        assert [f for f in found.findings if f["severity"] == "error"] == []
        said = vxp_line(run_vxp, f"verify {bundle} {words(desk)} --regenerate {desk / 'own.py'}:{name.replace('-', '_')} "
                       f"--out {tmp_path / name}.json --threads 1")
        assert "evidence E3" in said.stdout, said.stdout


def test_the_report_shows_timelines(desk: Path, run_vxp: Vxp) -> None:
    assert vxp_line(run_vxp, f"report {desk / 'run'}").returncode == 0
    html = (desk / "run" / "report.html").read_text()
    assert html.count("<svg") >= 3
    assert html.count('<rect class="for"') + html.count('<rect class="reference-for"') >= 3 * 4
    assert "<image" not in html  # features have no pictures
    assert "model&#39;s scores" in html or "model's scores" in html


def test_the_picture_has_a_bar_per_part() -> None:
    video = timeline.Timeline(60, 15.0, [[0, 20], [20, 60]], [0, 12, 24, 36, 48], [0.1, 0.2, 0.9, 0.4, 0.3])
    rows = [timeline.Row("mine", False, np.array([2.0, -1.0]), [[0, 20], [20, 60]]),
            timeline.Row("none", True, np.zeros(2), [[0, 20], [20, 60]], "failed: explainer error")]
    svg = timeline.svg("a video", video, None, rows)
    bars = re.findall(r'<rect class="(\S+)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="([\d.]+)"', svg)
    assert [kind for kind, *_ in bars] == ["for", "against"]
    assert float(bars[0][3]) == 2 * float(bars[1][3])
    assert float(bars[1][1]) == pytest.approx(video.across(20) + 0.75, abs=0.06)
    assert "failed: explainer error" in svg
    assert ">4 s<" in svg


def test_scores_made_elsewhere_are_imported_and_scored_alike(desk: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    task, _ = opened(desk)
    (of_set,) = (desk / "run" / "explanations").glob("*first-feature*")
    kept = load_file(of_set / "payload" / "00000.safetensors")
    with (tmp_path / "scores.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["video", "start", "end", "score"])
        for i, item in enumerate(task.items):
            rows.writerows([item.id, *kept["segments"][i, k].tolist(), float(kept["values"][i, k])]
                           for k in range(kept["lengths"][i]))
    line = f"import {words(desk)} --maps {tmp_path / 'scores.csv'} --name mine --unsigned --out {tmp_path / 'set'}"
    assert "state one of class" in vxp_line(run_vxp, line).stderr
    assert vxp_line(run_vxp, f"{line} --explanandum mean-score").returncode == 0
    again = load_file(tmp_path / "set" / "payload" / "00000.safetensors")
    assert all(np.array_equal(again[name], kept[name]) for name in kept)
    out = tmp_path / "scored"
    scored = f"score {tmp_path / 'set'} {words(desk)} --metrics {shlex.quote(METRICS)} --out {out} --threads 1"
    assert vxp_line(run_vxp, scored).returncode == 0
    (ours,) = (json.loads(path.read_text()) for path in (desk / "run" / "results").glob("*first-feature*/result.json"))
    (theirs,) = (json.loads(path.read_text()) for path in (out / "results").glob("*mine*/result.json"))
    assert [s["mean"] for s in ours["scores"]] == [s["mean"] for s in theirs["scores"]]
    assert not list((tmp_path).glob("*.csv.*"))


def test_items_are_exported_for_what_explains_elsewhere(desk: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    said = vxp_line(run_vxp, f"data export {words(desk)} --out {tmp_path / 'items'}")
    assert "--explanandum" in said.stdout
    task, model = opened(desk)
    videos = json.loads((tmp_path / "items" / "videos.json").read_text())
    assert list(videos) == [item.id for item in task.items]
    assert videos["short"] == {"n_frames": 60, "fps": None, "steps": list(range(0, 60, 3)),
                               "shots": [[0, 15], [15, 30], [30, 45], [45, 60]]}
    assert np.array_equal(np.load(tmp_path / "items" / "features" / "00000.npy"), task.load(0, 1, model).inputs[0].numpy())


@pytest.mark.parametrize(("line", "said"), [
    ("run {features} --model {own}:wide", "got 4 features per step, and model own-own takes 9"),
    ("run {features} --model {own}:classes", "takes images, and --features are features of videos"),
    ("run {features} --model {own}:net --explainer grad-cam", "makes heatmap2d, heatmap3d, and sequences need temporal"),
    ("run shapes {features} --model {own}:net", "one of the four"),
    ("run {features}", "--features needs --model"),
    ("run montage --model shapes-cnn", "takes images, and the items are clips"),
])
def test_what_does_not_fit_is_said_before_anything_runs(
    desk: Path, tmp_path: Path, run_vxp: Vxp, line: str, said: str
) -> None:
    opened(desk)
    asked = line.format(features=f"--features {desk / 'videos.h5'}", own=desk / "own.py")
    explainer = "" if "--explainer" in asked else " --explainer random"
    found = vxp_line(run_vxp, f"{asked}{explainer} --out {tmp_path / 'out'}")
    assert found.returncode != 0
    assert said in " ".join(found.stderr.split())
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize(("facts", "said"), [
    ({"output": "sequences"}, "output is 'sequences'; did you mean 'sequence'"),
    ({"output": "sequence"}, "needs features"), ({"features": 4}, "say so by output='sequence'"),
    ({"output": "sequence", "features": 0}, "features is 0"),
    ({"output": "sequence", "features": 4, "layout": "btx"}, "no layout is called 'btx'"),
    ({"output": "sequence", "features": 1}, "expected scores"),
])
def test_facts_of_a_model_that_scores_steps(tmp_path: Path, facts: dict[str, Any], said: str) -> None:
    (tmp_path / "own.py").write_text(f"from torch import nn\n\ndef net():\n    return nn.Linear(1, 3), {facts!r}\n")
    with pytest.raises(VxpError, match=said):
        models.load(f"{tmp_path / 'own.py'}:net")


# ------------------------------------------------------------------------------------------------------------------ montage

Break = Callable[[Broken], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed run of three videos of montage."""
    folder = tmp_path_factory.mktemp("montage")
    task = tasks.load("montage")
    model = models.load(task.model)
    run.run(Context.of(task, model, folder / "run", Settings(batch_size=16, threads=1, limit=3), METRICS.split(",")),
            [explainers.bind("fragment-occlusion")])
    return sealed(folder / "run", folder / "bundle", "fragment-occlusion")


@needs_photos
def test_montage_goes_from_run_to_verification(whole: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    found = validate(whole)
    assert [f for f in found.findings if f["severity"] == "error"] == []
    said = vxp_line(run_vxp, f"verify {whole} --regenerate fragment-occlusion --out {tmp_path / 'audit.json'} --threads 1")
    assert "evidence E3" in said.stdout, said.stdout
    board = tmp_path / "board"
    assert vxp_line(run_vxp, f"leaderboard add {whole} --records {board / 'records'}").returncode == 0, STATEMENT
    assert vxp_line(run_vxp, f"leaderboard build --records {board / 'records'} --out {board / 'site'}").returncode == 0
    assert any("disc-plus-2024" in page.read_text() for page in (board / "site").rglob("*.html"))


def document(name: str, change: Callable[[Any], object]) -> Break:
    return lambda b: b.json(name, change)


def segments(change: Callable[[Any], object]) -> Break:
    return lambda b: b.tensors("shard", lambda t: change(t["segments"]))


def _inclusive(parts: Any) -> None:
    parts[1, :, 1] -= 1


def _overlap(parts: Any) -> None:
    parts[1, 0, 1] += 2


def _late(parts: Any) -> None:
    parts[1, 0, 0] = 1


def _moved(parts: Any) -> None:
    parts[1, 0, 1] += 1
    parts[1, 1, 0] += 1


def _beyond(parts: Any) -> None:
    parts[2, -1, 1] += 5


def explained(value: str | None) -> Break:
    def change(b: Broken) -> None:
        for name in ("set", "result"):
            b.json(name, lambda d: d["explainer"].pop("explanandum") if value is None
                   else d["explainer"].update(explanandum=value))
    return change


@needs_photos
@pytest.mark.parametrize(("code", "said", "change"), [
    ("VXP-C026", "inclusive", segments(_inclusive)), ("VXP-C026", "overlap", segments(_overlap)),
    ("VXP-C026", "0", segments(_late)), ("VXP-C026", "parts", lambda b: b.tensors("shard", lambda t: t["lengths"].fill(11))),
    ("VXP-C026", "behind the last", lambda b: b.tensors("shard", lambda t: t["lengths"].fill(9))),
    ("VXP-C027", "fragment 0", segments(_moved)), ("VXP-C027", "fragment 9", segments(_beyond)),
    ("VXP-C028", "none", explained(None)), ("VXP-C028", "'class'", explained("class")),
    ("VXP-C013", "target", lambda b: [b.table(name, lambda t: t["target"].__setitem__(1, 0)) for name in ("items", "samples")]),
    ("VXP-C009", "target_source", lambda b: b.table("items", lambda t: t["target_source"].__setitem__(1, "predicted"))),
    ("VXP-C001", "segments", lambda b: b.tensors("shard", lambda t: t.pop("segments"))),
], ids=lambda value: value if isinstance(value, str) and value.startswith("VXP") else "")
def test_what_divides_no_video_is_found(whole: Path, tmp_path: Path, code: str, said: str, change: Break) -> None:
    broken = Broken(whole, tmp_path / "broken")
    change(broken)
    broken.seal(rows=False)
    found = [f for f in validate(broken.folder).findings if f["code"] == code]
    assert found, code
    assert any(said in json.dumps(f, ensure_ascii=False) for f in found), found


@needs_photos
def test_the_card_is_of_the_data(whole: Path) -> None:
    task = tasks.load("montage")
    assert len(task.items) == 60
    assert (task.document["targets"], task.document["kinds"]) == ("none", ["temporal"])
    sample = task.source.load(task.items[0])
    assert sample.timeline is not None
    assert [list(shot) for shot in sample.timeline.fragments] == task.items[0].recipe["segments"]
    assert vxp_schemas.registry_document("models", "montage-summariser")["output"] == "sequence"
