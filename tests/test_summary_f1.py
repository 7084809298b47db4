"""The F1 of the summary that an explanation makes, against its oracle and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import vxp
from oracles import UndefinedError
from oracles import summary_f1 as oracle
from torch import Tensor, nn
from vxp.core import Batch, Case, Normalization, VxpError
from vxp.datasets import Timeline
from vxp.engine import Engine, Job
from vxp.metrics import bind
from vxp.models.sequences import frame_scores
from vxp.tasks import Loaded

LENGTHS = [2, 3, 1, 2, 4, 1, 3]
OF = torch.arange(len(LENGTHS)).repeat_interleave(torch.tensor(LENGTHS))
STEPS = sum(LENGTHS)


class First(nn.Module):
    """The first feature of a frame is its score."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., 0]


def batch(users: Tensor, segments: Tensor | None = None) -> Batch:
    B = len(users)
    inputs = torch.rand(B, 2, STEPS, generator=torch.Generator().manual_seed(0))
    return Batch(tuple("abcdef"[:B]), inputs, torch.full((B,), -1), Normalization((0.0,), (1.0,)), truth={"users": users},
                 parts={"fragment": OF.expand(B, STEPS)}, segments=segments)


def scored(some: Batch, weights: Tensor, unit: Any = "fragment", **parameters: Any) -> Any:
    wanted = bind(("summary-f1", parameters))
    return Engine(frame_scores(First())).score(Job(Case(some, weights, unit), (wanted,)))[wanted.signature]


def of_frames(each: int, more: int = 0) -> tuple[Tensor, Tensor]:
    """Ranges of frames with so many frames for every step, and the summaries of three people of four videos, of more frames."""
    ends = each * torch.tensor(LENGTHS).cumsum(0)
    ranges = torch.stack([torch.cat([torch.zeros(1, dtype=torch.long), ends[:-1]]), ends], 1)
    people = torch.rand(4, 3, each * STEPS + more, generator=torch.Generator().manual_seed(3)) < 0.25
    return ranges.expand(4, -1, -1), people


@pytest.mark.parametrize("unit", ["fragment", "frame"])
@pytest.mark.parametrize("parameters", oracle.VARIANTS)
def test_summary_f1_equals_its_oracle(parameters: dict[str, Any], unit: str) -> None:
    ranges, people = of_frames(4, more=17)
    K = len(LENGTHS) if unit == "fragment" else STEPS
    weights = torch.stack([torch.rand(K, generator=torch.Generator().manual_seed(1)), 0.5 + torch.arange(K) % 3 / 4096,
                           torch.full((K,), 0.25), -torch.rand(K, generator=torch.Generator().manual_seed(2))])
    found = scored(batch(people, ranges), weights, unit, **parameters)
    for i in range(4):
        steps = weights[i] if unit == "frame" else weights[i][OF]
        given = (steps.numpy(), OF.tolist(), [tuple(r) for r in ranges[i].tolist()], people[i].numpy())
        try:
            expected = oracle.summary_f1(*given, **parameters)
        except UndefinedError:
            assert found.status[i] == "undefined:empty-summary"
        else:
            assert found.status[i] == "ok"
            assert float(found.values[i]) == pytest.approx(expected, abs=1e-12)
    assert (found.status[3] == "undefined:empty-summary") == (parameters["dialect"] == "ca-sum"), "nothing is worth anything"


def test_who_takes_the_same_fragments_is_right_and_who_takes_others_is_not() -> None:
    """16 steps are 64 frames, of which a summary has 9: the fragments 2 and 5, of one step each."""
    ranges, people = of_frames(4)
    people = torch.zeros_like(people[:1])
    people[0, 0, 20:24] = people[0, 0, 48:52] = True  # fragments 2 and 5
    people[0, 1, 20:24] = True
    weights = torch.tensor([[0.1, 0.2, 0.9, 0.3, 0.9, 0.8, 0.4]])
    some = batch(people[:, :2], ranges[:1])
    assert float(scored(some, weights).values) == pytest.approx((1 + 2 / 3) / 2)
    assert float(scored(some, weights, users="max").values) == 1
    assert float(scored(batch(people[:, :1].roll(1), ranges[:1]), weights).values) == pytest.approx(6 / 8)
    assert float(scored(batch(people[:, 2:], ranges[:1]), weights).values) == 0


def test_in_memory_frames_are_steps() -> None:
    people = torch.zeros(1, 1, STEPS, dtype=torch.bool)
    people[0, 0, 0:2] = True
    weights = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0]])
    inputs = torch.rand(1, 2, STEPS)
    found = vxp.score(frame_scores(First()), inputs, weights, truth={"users": people}, metrics=["summary-f1"], fragments=OF)
    assert found["summary-f1"].values.tolist() == [1.0]
    with pytest.raises(VxpError, match="needs the truth users"):
        vxp.score(frame_scores(First()), inputs, weights, metrics=["summary-f1"], fragments=OF)
    with pytest.raises(VxpError, match=r"truth 'users'.*summaries of people \[1, U, frames\]"):
        vxp.score(frame_scores(First()), inputs, weights, truth={"users": people[0]}, metrics=["summary-f1"], fragments=OF)
    with pytest.raises(VxpError, match="follow on each other, and these come back"):
        vxp.score(frame_scores(First()), inputs, weights, truth={"users": people}, metrics=["summary-f1"],
                  fragments=torch.arange(STEPS) % 7)


def test_items_of_a_task_bring_their_fragments_as_ranges_of_frames() -> None:
    timeline = Timeline(40, ((0, 8), (8, 30), (30, 40)), picks=tuple(range(0, 40, 5)))
    given: dict[str, Any] = {"normalization": Normalization((0.0,), (1.0,)), "seed": 0, "truth": {}}
    loaded = Loaded(("a", "b"), torch.zeros(2, 3, 8), (None, None), clusters=("a", "b"), timelines=(timeline, timeline),
                    labels=((2, 0), (1,)), **given)
    found = loaded.batch(torch.tensor([-1, -1]))
    assert found.segments is not None
    assert found.segments.tolist() == [[[0, 8], [8, 30], [30, 40]]] * 2
    assert found.known_labels().tolist() == [[2, 0], [1, -1]]
    assert found.select([1]).segments.shape == (1, 3, 2)  # type: ignore[union-attr]
    images = Loaded(("a",), torch.zeros(1, 3, 4, 4), (None,), clusters=("a",), labels=((),), **given).batch(torch.tensor([0]))
    assert images.segments is None
    assert images.known_labels().tolist() == [[-1]]
    assert np.array_equal(images.to("cpu").known_labels(), images.known_labels())
