"""A frame model and a fusion: every distinct frame is run once, and no score shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import vxp
from torch import Tensor, nn
from vxp import explainers, models, tasks
from vxp.core import Batch, Case, Filled, Normalization, Unchanged
from vxp.engine import Engine, Job, Wanted
from vxp.engine.frames import Distinct, frames_of
from vxp.media import CLIP
from vxp.metrics import Bound, bind
from vxp.metrics._curves import VOXEL_FILLS
from vxp.models.clips import FUSIONS
from vxp.runs import run
from vxp.runs.context import Context, Settings

NORM = Normalization((0.48, 0.45, 0.4), (0.23, 0.22, 0.25))
K = 6
TOP_FRAMES = tuple(f"{name}|top:2|removal:{removal}" for removal in ("hold", "remove")
                   for name in ("top-p-average-drop", "top-p-increase", "fidelity-minus", "fidelity-plus"))
FRAME_CURVES = [f"frame-{which}|fill:{fill}" for which in ("deletion", "insertion") for fill in CLIP.fills]


class OfFrames(nn.Module):
    """A small model of images."""

    def __init__(self, classes: int = K) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(32, classes)

    def forward(self, images: Tensor) -> Tensor:
        found = torch.tanh(self.conv(images))
        return self.head(nn.functional.adaptive_avg_pool2d(found, 2).flatten(1)) * 4


class Hidden(nn.Module):
    """A late-fusion model that does not say so: every frame of every row is run."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        return self.model(clips)


def clips(frames: int, items: int = 2, seed: int = 1, side: int = 24) -> Batch:
    raw = torch.rand(items, 3, frames, side, side, generator=torch.Generator().manual_seed(seed))
    ids = tuple(f"clip-{seed}-{i}" for i in range(items))
    return Batch(ids, NORM.to_inputs(raw, 3), torch.arange(items) % K, NORM)


def cases(batch: Batch, maps: int) -> list[Case]:
    generator = torch.Generator().manual_seed(2)
    return [Case(batch, torch.rand(len(batch), batch.space[0], 6, 6, generator=generator), "frames") for _ in range(maps)]


def bound(*names: str) -> tuple[Bound, ...]:
    return tuple(bind(name) for name in names)


@contextmanager
def counted(module: nn.Module) -> Iterator[list[int]]:
    """The rows of every call of a module."""
    seen: list[int] = []
    handle = module.register_forward_hook(lambda module, arguments, output: seen.append(len(arguments[0])))
    yield seen
    handle.remove()


# --------------------------------------------------------------------------------------------------------------- counts


@pytest.mark.parametrize("frames", [8, 16])
def test_all_frame_curves_of_all_maps_take_few_passes_a_clip(frames: int) -> None:
    """Two curves with six fills, of five maps: the clip's frames, those of the blurred clip, and one of every still fill."""
    batch, net = clips(frames), OfFrames()
    wanted = bound(*(name for name in FRAME_CURVES if not name.endswith(":noise")))
    engine = Engine(vxp.late_fusion(net), 8)
    with counted(net) as seen:
        for case in cases(batch, 5):
            engine.score(Job(case, wanted))
    still = 3  # black, mean, mean-frame
    assert sum(seen) == engine.tally.frames == len(batch) * (2 * frames + still) <= 40 * len(batch)
    assert engine.tally.run > 20 * len(batch), "rows, each with all its frames"


@pytest.mark.parametrize(("frames", "fill", "passes"), [
    (16, "hold", 17), (16, "reverse", 16), (16, "black", 17), (16, "mean-frame", 17), (16, "blur", 32), (16, "noise", 32),
    (8, "hold", 9), (8, "noise", 16)])
def test_the_passes_of_a_curve_are_the_frames_of_clip_and_fill(frames: int, fill: str, passes: int) -> None:
    batch, net = clips(frames, items=1), OfFrames()
    engine = Engine(vxp.late_fusion(net), 8)
    with counted(net) as seen:
        for case in cases(batch, 3):
            engine.score(Job(case, bound(f"frame-deletion|fill:{fill}", f"frame-insertion|fill:{fill}")))
    assert sum(seen) == engine.tally.frames == passes


def test_of_voxel_rows_only_the_frames_that_changed_are_run() -> None:
    """Frame after frame goes, in halves: half-black frames are new, black ones and those of the clip are not."""
    batch, net = clips(4, items=1), OfFrames()
    falling = torch.arange(4 * 24 * 24, 0, -1.0).view(1, 4, 24, 24)
    engine = Engine(vxp.late_fusion(net), 3)
    with counted(net) as seen:
        engine.score(Job(Case(batch, falling, "none"), bound("st-deletion|steps:8|fill:black")))
    assert engine.tally.run == 9
    assert sum(seen) == engine.tally.frames == 4 + 1 + 4


def test_predictions_are_of_the_frames_that_are_kept() -> None:
    batch, net = clips(8), OfFrames()
    model = vxp.late_fusion(net)
    engine = Engine(model, 8)
    with counted(net) as seen:
        logits = engine.predict_all(batch.inputs)
        known = engine.shared(batch, Wanted((Unchanged(), Filled(batch.medium.fill("hold").whole))))
        for case in cases(batch, 2):
            engine.score(Job(case, bound("frame-deletion")), known)
    assert sum(seen) == engine.tally.frames == 2 * (8 + 1)
    torch.testing.assert_close(logits, model(batch.inputs), atol=1e-6, rtol=0)


# --------------------------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("fusion", FUSIONS)
def test_scores_are_those_of_plain_passes(fusion: str) -> None:
    batch, model = clips(5), vxp.late_fusion(OfFrames(), fusion)
    batch = replace(batch, labels=torch.arange(len(batch))[:, None] % 2)
    wanted = bound(*FRAME_CURVES, *(f"st-{which}|steps:7|fill:{fill}" for which in ("deletion", "insertion", "srg")
                                    for fill in VOXEL_FILLS), "tube-deletion|steps:4", *TOP_FRAMES)
    some = cases(batch, 2)
    engine = Engine(model, 7)
    for case in some:
        found = engine.score(Job(case, wanted))
        plain = Engine(Hidden(model), 7).score(Job(case, wanted))
        for name in plain:
            assert found[name].status == plain[name].status
            torch.testing.assert_close(found[name].values, plain[name].values, atol=1e-6, rtol=0)
            if plain[name].curve is not None:
                torch.testing.assert_close(found[name].curve, plain[name].curve, atol=1e-6, rtol=0)


def test_top_frames_take_no_frame_that_the_clip_has_not() -> None:
    batch, model = clips(6, items=3), vxp.late_fusion(OfFrames())
    engine = Engine(model, 4)
    engine.score(Job(cases(batch, 1)[0], bound(*TOP_FRAMES)))
    assert engine.tally.frames == 3 * 6


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_of_another_type_are_fed_in_that_type(dtype: torch.dtype) -> None:
    batch, model = clips(4), vxp.late_fusion(OfFrames()).to(dtype)
    maps = cases(batch, 1)[0].native
    found, plain = (vxp.score(m, batch.inputs, maps, metrics=["frame-deletion"], normalization=(NORM.mean, NORM.std))
                    for m in (model, Hidden(model)))
    torch.testing.assert_close(found["frame-deletion"].values, plain["frame-deletion"].values,
                               atol=1e-6 if dtype == torch.float64 else 2e-2, rtol=0)


def test_bits_depend_on_no_other_explainer_and_no_other_clip() -> None:
    """So that a run that goes on in a new process ends with the same bytes."""
    batch, wanted = clips(6, items=3), bound(*FRAME_CURVES, "st-deletion|steps:5")
    model, some = vxp.late_fusion(OfFrames()), cases(batch, 3)
    engine = Engine(model, 4)
    for case in some:
        found = engine.score(Job(case, wanted))
        alone = Engine(model, 4).score(Job(case, wanted))
        assert all(torch.equal(found[name].values, alone[name].values) for name in alone)
    one = batch.select([1])
    alone = Engine(model, 4).score(Job(Case(one, some[0].native[1:2], "frames"), bound(*FRAME_CURVES)))
    found = engine.score(Job(some[0], bound(*FRAME_CURVES)))
    assert all(torch.equal(found[name].values[1:2], alone[name].values) for name in alone)


def test_kept_logits_stay_within_the_memory() -> None:
    model, wanted = vxp.late_fusion(OfFrames(classes=1500)), bound("frame-deletion|fill:blur")
    memory, sizes = 3 * clips(8).inputs[0].nbytes, []
    engine = Engine(model, 4, memory=memory)
    for seed in range(6):
        batch = clips(8, items=1, seed=seed)
        found = engine.score(Job(cases(batch, 1)[0], wanted))
        free = Engine(model, 4).score(Job(cases(batch, 1)[0], wanted))
        assert all(torch.equal(found[name].values, free[name].values) for name in free)
        sizes.append(sum(logits.nbytes for logits in engine.kept.values()))
    assert 0 < max(sizes) <= memory < 6 * sizes[0]


# --------------------------------------------------------------------------------------------------------------- frames


def placed(frames: Sequence[Tensor]) -> list[int]:
    found = Distinct()
    return [found.place(frame, look) for frame, look in frames_of(torch.stack(list(frames), 1))]


def test_frames_are_equal_where_all_their_values_are() -> None:
    frame, zero = torch.rand(3, 40, 40), torch.zeros(3, 40, 40)
    other = frame.clone()
    other[1, 20, 3] += 1e-6  # at none of the few values that are looked at first
    lost = torch.full((3, 40, 40), float("nan"))
    assert frames_of(frame[:, None])[0][1] == frames_of(other[:, None])[0][1]
    assert placed([frame, other, frame.clone(), zero, -zero, other]) == [0, 1, 0, 2, 2, 1]
    assert placed([lost, lost]) == [0, 1], "NaN equals nothing, and is run"


# ------------------------------------------------------------------------------------------------------------- in a run


def test_a_run_states_the_frames_that_it_ran(tmp_path: Path) -> None:
    task = tasks.load("motion-items")
    net = OfFrames(classes=4)
    model = replace(models.load(task.model), module=vxp.late_fusion(net).eval())
    settings = Settings(batch_size=16, limit=10)
    metrics = ("frame-deletion", "frame-insertion", "st-deletion|steps:4")

    def ran(out: Path) -> list[Path]:
        return run.run(Context.of(task, model, out, settings, metrics), [explainers.bind("saliency")])

    for path in ran(tmp_path / "run"):
        cost = json.loads(path.read_bytes())["cost"]["score"]
        assert 0 < cost["frames_run"] <= 8 * cost["rows_run"]
    kept = {p: p.read_bytes() for p in (tmp_path / "run").glob("results/*/samples.parquet")}
    for unit in (tmp_path / "run" / ".units" / "score").glob("*/000008*"):
        unit.unlink()
    ran(tmp_path / "run")
    assert kept == {p: p.read_bytes() for p in kept}
