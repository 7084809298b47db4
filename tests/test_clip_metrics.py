"""The metrics of clips against their oracles, and models, maps and truths whose score is known exactly."""

from __future__ import annotations

import math
from copy import deepcopy
from inspect import Parameter, signature
from typing import Any

import numpy as np
import pytest
import torch
import vxp
from oracles import implementation
from torch import Tensor, nn
from vxp import media
from vxp.core import Batch, Case, Normalization
from vxp.core.segments import slic
from vxp.engine import Engine, Job
from vxp.kinds import HEATMAP2D, HEATMAP3D, Resample
from vxp.metrics import _time, bind, catalogue, of_kind

T, H, W = 5, 9, 11
NORM = Normalization((0.48, 0.45, 0.4), (0.23, 0.22, 0.25))
QUICK: dict[str, Any] = {"steps": 7, "samples": 2}
OF_CLIPS = {id: metric for id, metric in of_kind(HEATMAP3D.id).items()
            if not metric.re_explains and "classes" in metric.outputs}
ONLY_CLIPS = [id for id, metric in OF_CLIPS.items() if HEATMAP2D.id not in metric.kinds]
LABELS = torch.tensor([[0, -1], [1, 3], [-1, -1]])
"""The correct classes of the three clips: one, two, and none."""


class Motion(nn.Module):
    """Smooth, so that float32 and float64 agree, and with a kernel over frames, so that what moves counts."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.conv, self.head = nn.Conv3d(3, 6, 3, padding=1), nn.Linear(6, 4)
        with torch.no_grad():
            for p in self.parameters():
                p.normal_(0.0, 0.5, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.conv(x)).mean((2, 3, 4)) * 4)


class Reads(nn.Module):
    """Logits g(x) and 0: the target's probability is the logistic function of g."""

    def __init__(self, g: Any) -> None:
        super().__init__()
        self.g = g

    def forward(self, x: Tensor) -> Tensor:
        found = self.g(x)
        return torch.stack([found, torch.zeros_like(found)], 1)


def logistic(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


MAPS: dict[str, tuple[Resample, Tensor]] = {
    "random": ("trilinear", 2 * seeded(3, T, H, W, seed=1) - 1),
    "coarse": ("trilinear", (seeded(3, 2, 3, 4, seed=2) * 512).floor() / 256 - 1),
    "frames": ("frames", (seeded(3, 2, 3, 4, seed=3) * 512).floor() / 256 - 1),
    "nearest": ("nearest", (seeded(3, 3, 4, 5, seed=4) * 512).floor() / 256 - 1),
    "ties": ("none", (seeded(3, T, H, W, seed=5) > 0.6) * (seeded(3, T, H, W, seed=6) * 5).floor() / 4),
    "negative": ("none", -1 - seeded(3, T, H, W, seed=7)),
}


def mask() -> Tensor:
    """A square that moves through two frames, scattered positions from the second frame on, and two single positions."""
    found = torch.zeros(3, T, H, W, dtype=torch.bool)
    found[0, 1, 2:6, 1:5] = found[0, 2, 2:6, 3:7] = True
    found[1, 1:] = seeded(T - 1, H, W, seed=8) < 0.3
    found[2, 0, 4, 4] = found[2, 4, 8, 10] = True
    return found


def batch(seed: int = 7, frames: int = T) -> Batch:
    inputs = NORM.to_inputs(seeded(3, 3, T, H, W, seed=9), 3)[:, :, :frames]
    with torch.no_grad():
        targets = Motion()(inputs).argmax(1)
    return Batch(("a", "b", "é"), inputs, targets, NORM, seed, {"mask": mask()[:, :frames]}, ("a", "b", "a"), labels=LABELS)


def scored(name: str, parameters: dict[str, Any], case: Case, batch_size: int = 16) -> Any:
    wanted = bind((name, parameters))
    return Engine(Motion(), batch_size).score(Job(case, (wanted,)))[wanted.signature]


def expected(name: str, parameters: dict[str, Any], case: Case, i: int) -> tuple[str, float | None]:
    """Status and score of item i by the oracle."""
    precise = deepcopy(Motion()).double()

    def model(clip: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = precise(torch.from_numpy(clip)[None])[0].numpy()
        return found

    some, metric = case.batch, catalogue()[name]
    native = case.native[i].numpy()
    truth = some.truth["mask"][i].numpy()
    rule = "trilinear" if case.resample == "none" else case.resample
    sample = {
        "model": model, "image": some.inputs[i].double().numpy(), "truth": truth, "truths": {"mask": truth},
        "attribution": implementation.on_grid(native, some.space, rule), "target": int(some.targets[i]), "mean": NORM.mean,
        "std": NORM.std, "seed": some.seed, "item": some.ids[i],
        "segments": lambda n: slic(some.select([i]), n)[0].numpy(),
        "labels": [label for label in some.known_labels()[i].tolist() if label >= 0],
    }
    assert {p.name for p in signature(implementation.oracle_of(name)).parameters.values()
            if p.kind is Parameter.POSITIONAL_OR_KEYWORD} <= set(sample)
    asked = {"metric": name, "level": "sample", "undefined": list(metric.undefined), "parameters": parameters}
    answer = implementation.score(asked, [sample])
    return answer["status"][0], answer["values"][0]


def variants() -> list[Any]:
    found = []
    for name, metric in OF_CLIPS.items():
        quick = {key: value for key, value in QUICK.items() if key in metric.parameters}
        for variant in getattr(implementation.module_of(name), "VARIANTS", [{}]):
            wanted = bind((name, quick | variant))
            found.append(pytest.param(name, dict(wanted.parameters), id=wanted.signature))
    return found


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize(("name", "parameters"), variants())
def test_metric_equals_its_oracle(name: str, parameters: dict[str, Any], kind: str) -> None:
    rule, native = MAPS[kind]
    case = Case(batch(), native, rule)
    found = scored(name, parameters, case)
    for i in range(3):
        status, value = expected(name, parameters, case, i)
        assert found.status[i] == status
        if value is not None:
            assert float(found.values[i]) == pytest.approx(value, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", OF_CLIPS)
def test_a_clip_of_one_frame_has_the_status_of_its_oracle(name: str) -> None:
    metric = catalogue()[name]
    parameters = dict(metric.parameters) | {key: value for key, value in QUICK.items() if key in metric.parameters}
    case = Case(batch(frames=1), MAPS["random"][1][:, :1], "none")
    found = scored(name, parameters, case)
    for i in range(3):
        status, value = expected(name, parameters, case, i)
        assert found.status[i] == status
        assert value is None or float(found.values[i]) == pytest.approx(value, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", ONLY_CLIPS)
def test_no_score_depends_on_neighbours_or_batches(name: str) -> None:
    metric = catalogue()[name]
    parameters = {key: value for key, value in QUICK.items() if key in metric.parameters}
    rule, native = MAPS["coarse"]
    native = native.clone()
    native[1, 0, 0, 0] = float("nan")
    together = scored(name, parameters, Case(batch(), native, rule))
    assert together.status[1] == "undefined:non-finite-map"
    for i in (0, 2):
        alone = scored(name, parameters, Case(batch().select([i]), native[i : i + 1], rule), batch_size=1)
        assert alone.status[0] == together.status[i]
        assert float(alone.values[0]) == pytest.approx(float(together.values[i]), rel=1e-6, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", ONLY_CLIPS)
def test_an_image_has_no_score_of_clips(name: str) -> None:
    found = vxp.score(Reads(lambda x: x.flatten(1).sum(1)), seeded(2, 3, H, W), seeded(2, H, W), targets=[0, 0],
                      truth=torch.ones(2, H, W, dtype=torch.bool), metrics=[name])[name]
    assert found.status == ("not-run:kind",) * 2
    assert HEATMAP2D.id not in catalogue()[name].kinds


def test_the_worked_example_of_the_text() -> None:
    """Clause 5.14.8."""
    native = torch.tensor([[[0.0, 2.0]], [[1.0, -2.0]]])[None]
    inputs = torch.arange(3.0).view(1, 1, 3, 1, 1).expand(1, 3, 3, 1, 2)
    batch = Batch(("a",), inputs, torch.zeros(1, dtype=torch.long))
    case = Case(batch, native, "trilinear")
    assert case.map.flatten().tolist() == [0, 2, 0.5, 0, 1, -2]
    assert Case(batch, native, "frames").map.flatten().tolist() == [0, 2, 1, -2, 1, -2]
    assert _time.frame_relevance(case).tolist() == [[2, 0.5, 1]]
    assert _time.tube_relevance(case).tolist() == [[1.5, 0]]
    assert case.ordered(_time.by_frame(case)).positions.tolist() == [[0, 1, 4, 5, 2, 3]]
    assert case.ordered(_time.by_tube(case)).positions.tolist() == [[0, 2, 4, 1, 3, 5]]
    for frames, shown in (((0, 1), [2, 2, 2]), ((1,), [0, 0, 2]), ((0, 1, 2), [0, 0, 0])):
        removed = torch.zeros(1, 3, 2, dtype=torch.bool)
        removed[:, frames] = True
        fill = media.CLIP.fill("hold")
        assert isinstance(fill, media.Imputed)
        assert fill.impute(batch, torch.tensor([0]), removed.flatten(1))[0, 0, :, 0, 0].tolist() == shown


# ------------------------------------------------------------------------------------------------ curves that are known


@pytest.mark.parametrize(("clip", "image"), [("st-deletion", "deletion"), ("st-insertion", "insertion"), ("st-srg", "srg")])
@pytest.mark.parametrize("fill", ["mean", "black"])
def test_voxels_go_as_the_positions_of_an_image_do(clip: str, image: str, fill: str) -> None:
    """A fill that knows no neighbours: the clip as an image of T*H rows has the same score, bit for bit."""
    weight = torch.randn(3, T, H, W, generator=torch.Generator().manual_seed(3)) / 8
    inputs, maps = seeded(2, 3, T, H, W), seeded(2, T, H, W, seed=1)

    def logit(x: Tensor) -> Tensor:
        return (x.reshape(len(x), -1) * weight.flatten()).sum(1)

    given = {"targets": [0, 0], "normalization": ((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))}
    ours = vxp.score(Reads(logit), inputs, maps, metrics=[f"{clip}|steps:9|fill:{fill}"], **given)[clip]
    theirs = vxp.score(Reads(logit), inputs.flatten(2, 3), maps.flatten(1, 2), metrics=[f"{image}|steps:9|fill:{fill}"],
                       **given)[image]
    assert torch.equal(ours.values, theirs.values)


def moving() -> tuple[nn.Module, Tensor]:
    """A model that reads 12 times the change between frames 1 and 2 only, and a clip that changes by 1/4 with every frame."""
    clip = (torch.arange(4.0) / 4).view(1, 1, 4, 1, 1).expand(1, 3, 4, 6, 8)
    return Reads(lambda x: 12 * (x[:, 0, 2] - x[:, 0, 1]).mean((1, 2))), clip


def per_frame(*q: float) -> Tensor:
    return torch.tensor(q).view(1, -1, 1, 1).expand(1, len(q), 6, 8)


def test_held_frames_take_the_change_that_the_model_reads() -> None:
    model, inputs = moving()
    full, double, none = logistic(3), logistic(6), logistic(0)
    # frame 2 goes first: then frame 1 stands still; frames 0, 1 and 3 follow by index
    found = vxp.score(model, inputs, per_frame(0.1, 0.1, 1.0, 0.1), targets=[0], metrics=["frame-deletion"])["frame-deletion"]
    assert found.curve is not None
    assert found.curve[0].tolist() == pytest.approx([full, none, none, none, none], abs=1e-6)
    assert list(found.x) == [0, 0.25, 0.5, 0.75, 1]
    assert float(found.values) == pytest.approx((full / 2 + 3 * none + none / 2) / 4, abs=1e-6)
    # frame 1 goes first: frame 0 stands in for it, and the change doubles; without frame 0 frame 2 stands in for both
    found = vxp.score(model, inputs, per_frame(0.5, 1.0, 0.1, 0.2), targets=[0], metrics=["frame-deletion"])["frame-deletion"]
    assert found.curve is not None
    assert found.curve[0].tolist() == pytest.approx([full, double, none, none, none], abs=1e-6)


def test_frames_are_shown_in_the_order_of_their_relevance() -> None:
    model, inputs = moving()
    found = vxp.score(model, inputs, per_frame(0.1, 0.5, 1.0, 0.0), targets=[0], metrics=["frame-insertion"])["frame-insertion"]
    assert found.curve is not None
    # nothing; frame 2 as a still clip; frames 1 and 2: the whole change
    assert found.curve[0].tolist() == pytest.approx([logistic(0), logistic(0), *[logistic(3)] * 3], abs=1e-6)
    back = vxp.score(model, inputs, per_frame(0.1, 0.5, 1.0, 0.0), targets=[0],
                     metrics=["frame-insertion|fill:reverse"])["frame-insertion"]
    assert back.curve is not None
    assert float(back.curve[0, 0]) == pytest.approx(logistic(-3), abs=1e-6)  # the clip run backwards


def test_tubes_go_whole_and_by_the_sum_of_the_map() -> None:
    inputs = torch.ones(1, 3, 2, 2, 3)
    weight = torch.tensor([[4.0, 0, 0], [0, 0, 1]])
    model = Reads(lambda x: (x[:, 0].mean(1) * weight).sum((1, 2)))
    maps = torch.zeros(1, 2, 2, 3)
    maps[0, 0, 0, 0], maps[0, 1, 1, 2], maps[0, :, 0, 1] = 3.0, 2.0, torch.tensor([9.0, -9.0])
    found = vxp.score(model, inputs, maps, targets=[0], metrics=["tube-deletion|steps:6"])["tube-deletion"]
    assert found.curve is not None
    # place 0 first, place 5 second; what is positive and negative over time cancels
    assert found.curve[0].tolist() == pytest.approx([logistic(5), logistic(1), *[logistic(0)] * 5], abs=1e-6)


def test_the_three_curves_of_voxels_share_their_rows() -> None:
    case, model = Case(batch(), MAPS["random"][1]), Motion()

    def rows(*names: str) -> int:
        engine = Engine(model)
        engine.score(Job(case, tuple(bind(f"{name}|steps:7") for name in names)))
        return engine.tally.run

    assert rows("st-deletion", "st-insertion", "st-srg") == rows("st-srg") == 3 * 14
    assert rows("st-deletion") == 3 * 8


# -------------------------------------------------------------------------------------------- truths that are known


def located(maps: Tensor, truth: Tensor, *names: str) -> list[float]:
    scores = vxp.score(Reads(lambda x: x.flatten(1).sum(1)), seeded(len(maps), 3, *maps.shape[1:]), maps,
                       targets=[0] * len(maps), truth=truth, metrics=names)
    return [float(scores[name].values) for name in names]


def test_planted_frames() -> None:
    truth = torch.zeros(1, 4, 6, 8, dtype=torch.bool)
    truth[0, 1:3, 2:4, 2:5] = True
    names = ("st-pointing", "frame-pointing", "t-pointing", "t-iou", "t-energy", "t-auc")
    assert located(truth.float(), truth, *names) == [1, 1, 1, 1, 1, 1]
    assert located(truth.float().roll(2, 1), truth, *names) == [0, 0, 0, 0, 0, 0]
    # right in time and wrong in place
    assert located(truth.float().roll(3, 2), truth, *names) == [0, 0, 1, 1, 1, 1]
    # one of the two frames: the other has no maximum, and ties with those without truth
    half = truth.float()
    half[0, 2] = 0
    assert located(half, truth, *names) == pytest.approx([1, 0.5, 1, 1 / 3, 1, 0.75])
    # an offset moves the energy, and no rank
    assert located(half + 1, truth, *names) == pytest.approx([1, 0.5, 1, 1 / 3, (6 + 96) / (6 + 192), 0.75])


def test_flicker_by_hand() -> None:
    """A still map, a steady ramp, a map that blinks, and one voxel within the clip, which has the most that there is."""
    blink, spark = torch.zeros(1, T, H, W), torch.zeros(1, T, H, W)
    blink[:, ::2], spark[0, 2, 4, 5] = 3.0, 0.5
    ramp = torch.arange(T, dtype=torch.float32).view(1, T, 1, 1).expand(1, T, H, W)
    maps = {"still": seeded(1, 1, H, W).expand(1, T, H, W), "ramp": ramp, "blink": blink, "spark": spark, "below": spark - 0.5}
    found = {name: scored("flicker", {}, Case(batch().select([0]), m.contiguous(), "none")) for name, m in maps.items()}
    assert {name: one.values.item() for name, one in found.items() if name != "below"} == pytest.approx({
        "still": 0.0, "ramp": 1 / (sum(range(T)) / T), "blink": 3 / (3 * -(-T // 2) / T), "spark": 2 * T / (T - 1)})
    assert found["below"].status == ("undefined:no-positive-mass",)


def test_of_tied_maxima_only_the_first_counts() -> None:
    maps = torch.zeros(2, 3, 4, 5)
    maps[:, 1, 2, 3] = maps[:, 2, 0, 0] = 1.0
    truth = torch.zeros(2, 3, 4, 5, dtype=torch.bool)
    truth[0, 1, 2, 3] = truth[1, 2, 0, 0] = True
    for name in ("st-pointing", "t-pointing"):
        found = vxp.score(Reads(lambda x: x.flatten(1).sum(1)), seeded(2, 3, 3, 4, 5), maps, targets=[0, 0], truth=truth,
                          metrics=[name])[name]
        assert found.values.tolist() == [1.0, 0.0], name
