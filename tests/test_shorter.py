"""Clips of which frames are left out: models of any length, and models of one."""

from __future__ import annotations

import pytest
import torch
import vxp
from torch import Tensor, nn
from vxp.core import Batch, Case, Removed, VxpError
from vxp.engine import Engine, Job
from vxp.engine.building import Builder
from vxp.engine.shorter import without
from vxp.metrics import _time, bind, catalogue

WANTED = ("frame-deletion|fill:remove", "frame-insertion|fill:remove", "frame-deletion", "entropy")


class Means(nn.Module):
    """Logits of the mean of every frame's first channel: the mean over the frames, and 0. Keeps the shapes that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, clips: Tensor) -> Tensor:
        self.seen.append(tuple(clips.shape))
        found = clips[:, 0].mean((1, 2, 3))
        return torch.stack([found, torch.zeros_like(found)], 1)


class OfFour(nn.Module):
    """A model with a weight per frame."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(1.0, 5))

    def forward(self, clips: Tensor) -> Tensor:
        found = clips[:, 0].mean((2, 3)) @ self.weight
        return torch.stack([found, -found], 1)


def batch(items: int = 2, frames: int = 4) -> Batch:
    levels = torch.tensor([4.0, 1, 2, 3])[:frames].view(1, 1, -1, 1, 1)
    scale = torch.arange(1.0, items + 1).view(-1, 1, 1, 1, 1)
    return Batch(tuple("abcdefgh"[:items]), (levels * scale).expand(items, 3, frames, 5, 6).contiguous(),
                 torch.zeros(items, dtype=torch.long))


def case(some: Batch) -> Case:
    """Frames go in the order 0, 3, 2, 1."""
    relevance = torch.tensor([8.0, 1, 2, 3])[: some.space[0]].view(1, -1, 1, 1)
    return Case(some, relevance.expand(len(some), *some.space).contiguous(), "none")


def scored(model: nn.Module, size: int = 16, *names: str) -> dict[str, vxp.core.Outcome]:
    wanted = tuple(bind(name) for name in names or WANTED)
    return Engine(model, size).score(Job(case(batch()), wanted))


@pytest.mark.parametrize("size", [1, 2, 3, 16])
def test_curves_of_clips_without_their_frames(size: int) -> None:
    found = scored(Means(), size)
    removing = torch.tensor([[10 / 4, 6 / 3, 3 / 2, 1, 0]])
    showing = torch.tensor([[0, 4, 7 / 2, 9 / 3, 10 / 4]])
    for name, means in ((WANTED[0], removing), (WANTED[1], showing)):
        curve = found[bind(name).signature].curve
        assert curve is not None
        torch.testing.assert_close(curve, torch.cat([means, 2 * means]).sigmoid().double(), atol=1e-6, rtol=0)


def test_clips_of_one_length_share_batches_within_the_batch_size() -> None:
    model = Means()
    scored(model, 3, WANTED[0], WANTED[1])
    # a length has two rows of either curve and two items; nothing removed and everything removed are rows of whole clips
    lengths = [(shape[2], shape[0]) for shape in model.seen if shape[2] < 4]
    assert sorted(lengths) == sorted([(length, n) for length in (1, 2, 3) for n in (3, 1)])


def test_frames_that_are_left_keep_their_order() -> None:
    some = case(batch())
    name = _time.by_frame(some)
    builder = Builder(some.batch, {some.key: some})
    left = without(builder, 1, builder.frames_gone(1, Removed(name, 1, 3, "remove")))
    assert torch.equal(left, some.batch.inputs[1][:, [0, 1]])


def test_a_part_of_a_frame_is_not_left_out() -> None:
    some = case(batch())
    builder = Builder(some.batch, {some.key: some})
    with pytest.raises(VxpError, match="leaves whole frames out, and part of a frame was removed"):
        builder.frames_gone(0, Removed(some.ranked, 0, 7, "remove"))


def test_a_model_of_one_length_costs_the_scores_that_leave_frames_out(caplog: pytest.LogCaptureFixture) -> None:
    found = scored(OfFour())
    statuses = [found[bind(name).signature].status for name in WANTED]
    assert statuses == [("not-run:fixed-length",) * 2] * 2 + [("ok",) * 2] * 2
    assert found[bind(WANTED[0]).signature].values.isnan().all()
    (said,) = [record.getMessage() for record in caplog.records if "fixed-length" in record.getMessage()]
    assert "does not take clips of 3 frames in place of 4" in said


@pytest.mark.parametrize("fusion", ["log-mean-exp", "mean", "max"])
def test_a_late_fusion_model_takes_any_length_without_a_pass_more(fusion: str) -> None:
    torch.manual_seed(0)
    model = vxp.late_fusion(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3)), fusion)
    engine, wanted = Engine(model, 3), tuple(bind(name) for name in WANTED[:2])
    some = case(batch())
    found = engine.score(Job(some, wanted))
    assert engine.tally.frames == 2 * (4 + 1)  # the mean is a frame more
    curve = found[wanted[0].signature].curve
    assert curve is not None
    with torch.no_grad():
        expected = [model(some.batch.inputs[:, :, kept]).softmax(1)[:, 0] for kept in ([0, 1, 2, 3], [1, 2, 3], [1, 2], [1])]
    torch.testing.assert_close(curve[:, :4], torch.stack(expected, 1).double(), atol=1e-6, rtol=0)


def test_out_of_memory_halves_the_batch_of_shorter_clips() -> None:
    class Tight(Means):
        def forward(self, clips: Tensor) -> Tensor:
            if len(clips) > 1:
                raise torch.OutOfMemoryError("pretend")
            return super().forward(clips)

    found, free = scored(Tight(), 8), scored(Means(), 8)
    assert all(torch.equal(found[name].values, free[name].values) for name in free)


def test_the_fill_is_for_whole_frames_only() -> None:
    limits = {id: metric.limits.get("fill", ()) for id, metric in catalogue().items()}
    assert {id for id, words in limits.items() if "remove" in words} == {
        "frame-deletion", "frame-insertion", "disc-plus-2022", "disc-minus-2022", "sv-2022", "disc-plus-2024",
        "disc-minus-2024", "sv-2024", "fragment-deletion", "rank-correlation", "claim-precision", "claim-recall"}
    with pytest.raises(VxpError, match="remove"):
        bind("st-deletion|fill:remove")
    with pytest.raises(VxpError, match="`remove` leaves frames out, so it shows nothing in their place"):
        batch().fill_image("remove")
