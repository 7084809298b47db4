"""What a metric may ask for beside ranks: groups, parts that no map decides, moved and shifted images, other states of the
model, long readouts and regions; each against its definition in plain loops."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import torch
from oracles import philox, subsets
from plain_fills import Plain
from torch import Tensor, nn
from vxp import models
from vxp.core import (
    Batch,
    Case,
    Cell,
    Compensated,
    Edit,
    Explain,
    Normalization,
    Offset,
    Outcome,
    Part,
    Randomised,
    Relabelled,
    Request,
    Scattered,
    Segment,
    SomeCells,
    Square,
    Stream,
    Translated,
    Unchanged,
    VxpError,
    Without,
    metric,
    outcome,
    perturb,
)
from vxp.engine import Engine, Job, Wanted, traces
from vxp.engine.building import Builder
from vxp.kinds import HEATMAP2D
from vxp.metrics import Bound
from vxp.outputs import CLASSES

H, W = 12, 10


@pytest.fixture
def batch() -> Batch:
    raw = torch.rand(3, 3, H, W, generator=torch.Generator().manual_seed(3))
    norm = Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    return Batch(("a", "b", "c"), norm.to_inputs(raw), torch.tensor([0, 1, 2]), norm, seed=7)


@pytest.fixture
def case(batch: Batch) -> Case:
    return Case(batch, torch.rand(3, H, W, generator=torch.Generator().manual_seed(4)), "none")


def wanted_of(wanted: tuple[Bound, ...], case: Case) -> Wanted:
    found = traces(wanted, case.batch.select([0]), [HEATMAP2D], CLASSES)
    return Wanted.of(trace.wanted for trace in found.values())


def net() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * (H - 2) * (W - 2), 6), nn.Tanh(),
                         nn.Linear(6, 5)).eval()


def asked(case: Case, request: Request, engine: Engine, explain: Any = None) -> Tensor:
    """The engine's answer to one request."""
    answers: list[Tensor] = []

    @metric("asks", family="test", better="higher", range=(None, None))
    def asks(case: Case) -> Generator[Request, Tensor, Outcome]:
        answers.append((yield request))
        return outcome(torch.zeros(len(case.batch)))

    engine.score(Job(case, (Bound(asks, {}),), explain))
    return answers[0]


# --------------------------------------------------------------------------------------------------------------- groups


@pytest.mark.parametrize("fill", ["mean", "blur", "nli"])
def test_groups_go_whole_and_items_may_have_different_numbers_of_them(case: Case, fill: str) -> None:
    generator = torch.Generator().manual_seed(1)
    ranks = torch.stack([torch.randint(0, n, (H * W,), generator=generator) for n in (4, 9, 2)])
    order = case.grouped("some", lambda: ranks)
    request = case.removed([0, 1, 2, 5, 9], fill, order=order)
    assert request.edits[0] == Unchanged()
    builder, plain = Builder(case.batch, {case.key: case}), None if fill == "nli" else Plain(case.batch).fill(fill).flatten(2)
    rows = builder.build([(i, e) for i in range(3) for e in request.edits]).clone().view(3, 5, 3, H * W)
    for i in range(3):
        for k, row in zip((0, 1, 2, 5, 9), rows[i], strict=True):
            gone = ranks[i] < k
            x = case.batch.inputs[i].flatten(1)
            assert torch.equal(row[:, ~gone], x[:, ~gone])
            if plain is not None:
                assert torch.allclose(row[:, gone], plain[i][:, gone], atol=1e-6)
            elif 0 < int(gone.sum()) < H * W:
                assert (row[:, gone] != x[:, gone]).all()
    # both builders, and spans in the middle
    middle = case.removed_spans([(1, 3), (2, 9), (8, 9)], "mean", order=order).edits
    together = torch.empty(3, 3, H, W)
    builder.together(together, [(1, e) for e in middle])
    assert torch.equal(together, builder.build([(1, e) for e in middle]))
    for (a, b), row in zip([(1, 3), (2, 9), (8, 9)], together.flatten(2), strict=True):
        assert torch.equal((row != case.batch.inputs[1].flatten(1)).any(0), (ranks[1] >= a) & (ranks[1] < b))


def test_groups_of_single_positions_are_the_order_itself(case: Case) -> None:
    ranks = case.order.argsort(1)
    order = case.grouped("each", lambda: ranks)
    alone, grouped = case.removed([1, 30, 100], "mean"), case.removed([1, 30, 100], "mean", order=order)
    builder = Builder(case.batch, {case.key: case})
    one = builder.build([(0, e) for e in alone.edits]).clone()
    assert torch.equal(one, builder.build([(0, e) for e in grouped.edits]))


# ---------------------------------------------------------------------------------------------------------------- parts


def by_hand(which: Part, item: str) -> set[int]:
    """The positions of a part, in plain Python."""
    match which:
        case Scattered(stream, draw, n):
            return set(subsets.subset(philox.key(7, item, stream.purpose, stream.stream), draw, H * W, n))
        case Square(stream, draw, side):
            u = philox.uniforms(philox.key(7, item, stream.purpose, stream.stream), draw, 1)[:, 0]
            size = 1 + math.floor(u[0] * side)
            top, left = math.floor(u[1] * (H - size + 1)), math.floor(u[2] * (W - size + 1))
            return {y * W + x for y in range(top, top + size) for x in range(left, left + size)}
        case Cell(grid, index):
            return {y * W + x for y in range(H) for x in range(W) if (y * grid // H) * grid + x * grid // W == index}
        case SomeCells(grid, stream, draw, n):
            chosen = subsets.subset(philox.key(7, item, stream.purpose, stream.stream), draw, grid * grid, n)
            return set().union(*(by_hand(Cell(grid, c), item) for c in chosen))


SQUARE, CELLS, PLACES = (Stream("m@1", name) for name in ("q", "c", "s"))
PARTS = [Scattered(PLACES, 5, 17), *(Square(SQUARE, d, 6) for d in range(8)), Square(SQUARE, 3, 1), Square(SQUARE, 4, 10),
         Cell(4, 0), Cell(4, 7), Cell(7, 48), SomeCells(3, CELLS, 2, 4), SomeCells(5, CELLS, 0, 1)]


@pytest.mark.parametrize("which", PARTS, ids=repr)
def test_a_part_is_what_its_words_say_in_the_row_and_for_the_metric(case: Case, which: Part) -> None:
    builder, plain = Builder(case.batch, {}), Plain(case.batch).fill("black").flatten(2)
    for i, item in enumerate(case.batch.ids):
        expected = torch.zeros(H * W, dtype=torch.bool)
        expected[sorted(by_hand(which, item))] = True
        assert torch.equal(perturb.part(which, case.batch, i), expected)
        row = builder.build([(i, Without(which, "black"))])[0].flatten(1)
        x = case.batch.inputs[i].flatten(1)
        assert torch.equal(row[:, ~expected], x[:, ~expected])
        assert torch.allclose(row[:, expected], plain[i][:, expected], atol=1e-6)


def test_cells_of_a_grid_cover_the_image_once() -> None:
    found = perturb.cells(7, 24, 31).view(24, 31)
    counts = torch.bincount(found.flatten(), minlength=49)
    assert len(counts) == 49
    assert set(counts.tolist()) <= {h * w for h in (3, 4) for w in (4, 5)}
    assert found[0, 0] == 0
    assert found[23, 30] == 48


@pytest.mark.parametrize("which", [Square(SQUARE, 0, 11), Square(SQUARE, 0, 0), Cell(11, 0), Scattered(PLACES, 0, 121),
                                   SomeCells(3, CELLS, 0, 10)], ids=repr)
def test_a_part_that_does_not_fit_is_refused(case: Case, which: Part) -> None:
    with pytest.raises(VxpError, match="expected"):
        perturb.part(which, case.batch, 0)


def test_rows_without_a_part_are_shared_by_all_explainers(batch: Batch) -> None:
    one = Case(batch, torch.rand(3, H, W), "none")
    two = Case(batch, torch.rand(3, H, W), "none")

    @metric("asks", family="test", better="higher", range=(None, None))
    def asks(case: Case) -> Generator[Request, Tensor, Outcome]:
        answer = yield Request(tuple(Without(Cell(3, k), "mean") for k in range(9)), readout="logit")
        return outcome(answer.sum(1))

    engine, wanted = Engine(net(), 4), (Bound(asks, {}),)
    known = engine.shared(one.batch, wanted_of(wanted, one))
    assert engine.tally.run == 30  # and the unchanged items
    for case in (one, two):
        engine.score(Job(case, wanted), known)
    assert engine.tally.run == 30
    assert engine.tally.asked == 54


# ------------------------------------------------------------------------------------------------- moved, shifted, filled


@pytest.mark.parametrize(("down", "across"), [(0, 0), (2, 0), (0, -3), (-4, 5), (20, 0)])
def test_a_translated_image_shows_the_fill_where_it_left(case: Case, down: int, across: int) -> None:
    row, black = Builder(case.batch, {}).build([(1, Translated(down, across, "black"))])[0], Plain(case.batch).fill("black")[1]
    for y in range(H):
        for x in range(W):
            inside = 0 <= y - down < H and 0 <= x - across < W
            if inside:
                assert torch.equal(row[:, y, x], case.batch.inputs[1, :, y - down, x - across])
            else:
                assert torch.allclose(row[:, y, x], black[:, y, x], atol=1e-6)


def test_the_images_own_mean_is_one_colour_per_image(batch: Batch) -> None:
    filled = batch.fill_image("image-mean")
    assert torch.allclose(filled, batch.inputs.mean((2, 3), keepdim=True).expand_as(filled), atol=1e-6)
    alone = batch.select([2]).fill_image("image-mean")
    assert torch.equal(alone[0], filled[2])


def test_offset_inputs_into_the_compensated_model_give_the_same_outputs(case: Case) -> None:
    model = net()
    engine = Engine(model, 4)
    before = [tuple(p.shape) for p in model.parameters()]
    seen: list[tuple[Tensor, list[str]]] = []

    def explain(module: nn.Module, inner: Batch) -> Tensor:
        seen.append((module(inner.inputs), [name for name, _ in module.named_modules()]))
        return inner.inputs[:, 0]

    maps = asked(case, Request((Offset(0.75),), Explain(state=Compensated(0.75)), "map"), engine, explain)
    assert torch.allclose(seen[0][0], model(case.batch.inputs), atol=1e-5)
    assert torch.allclose(maps[:, 0], case.batch.inputs[:, 0] + 0.75)
    assert seen[0][1] == [name for name, _ in model.named_modules()]  # so that a CAM finds its layer
    assert [tuple(p.shape) for p in model.parameters()] == before
    assert not model._forward_pre_hooks


# ------------------------------------------------------------------------------------------------------ states and readouts


def changed(model: nn.Module, twin: nn.Module) -> list[str]:
    """The modules of which a parameter differs, in order."""
    other = dict(twin.named_parameters())
    return list(dict.fromkeys(name.partition(".")[0] for name, p in model.named_parameters() if not p.equal(other[name])))


def test_stages_are_counted_from_the_output() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
    cascade = [changed(model, models.randomised(model, "m@1", 1, mode="cascading", stage=s, stages=3)) for s in (1, 2, 3)]
    assert cascade == [["4"], ["2", "3", "4"], ["0", "1", "2", "3", "4"]]
    alone = [changed(model, models.randomised(model, "m@1", 1, mode="independent", stage=s, stages=3)) for s in (1, 2, 3)]
    assert alone == [["4"], ["2", "3"], ["0", "1"]]
    # a tensor's draw does not depend on the stage in which it is drawn
    one, two = (models.randomised(model, "m@1", 1, mode=m, stage=1, stages=3) for m in ("cascading", "all"))
    assert one[4].weight.equal(two[4].weight)  # type: ignore[index]
    with pytest.raises(VxpError, match="stage 4 of 3"):
        models.randomised(model, "m@1", 1, mode="cascading", stage=4, stages=3)


def test_copies_of_the_model_are_kept_within_their_bytes(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(net(), 4)
    size = sum(p.numel() * p.element_size() for p in engine.model.parameters())
    monkeypatch.setattr("vxp.engine.running.COPIES", 2 * size)
    states = [Randomised("m@1", "cascading", s, 3) for s in (1, 2, 3)]
    first = [engine.state(s, 0) for s in states]
    assert len(engine._copies) == 2
    assert engine.state(states[2], 0) is first[2]
    again = engine.state(states[0], 0)
    assert again is not first[0]
    assert all(a.equal(b) for a, b in zip(again.parameters(), first[0].parameters(), strict=True))


def test_the_relabelled_model_is_the_one_given_or_an_error(case: Case) -> None:
    def explain(module: nn.Module, inner: Batch) -> Tensor:
        return inner.inputs[:, 0] * float(module(inner.inputs).mean())

    other = net()
    request = Request((Unchanged(),), Explain(state=Relabelled()), "map")
    with torch.no_grad():
        found = asked(case, request, Engine(net(), 4, relabelled=other), explain)
        assert torch.allclose(found[:, 0], explain(other, case.batch))
    with pytest.raises(VxpError, match="relabelled="):
        asked(case, request, Engine(net(), 4), explain)


@pytest.mark.parametrize("size", [1, 4, 100])
def test_all_logits_and_the_representation_are_read_in_the_same_pass(case: Case, size: int) -> None:
    model = net()
    engine = Engine(model, size)
    edits: tuple[Edit, ...] = (Unchanged(), Offset(0.5), Translated(1, 1, "mean"))
    answers: dict[str, Tensor] = {}

    @metric("asks", family="test", better="higher", range=(None, None))
    def asks(case: Case, *, readout: str = "output") -> Generator[Request, Tensor, Outcome]:
        answers[readout] = yield Request(edits, readout=readout)  # type: ignore[arg-type]
        return outcome(torch.zeros(3))

    wanted = tuple(Bound(asks, {"readout": r}) for r in ("output", "representation", "logit"))
    engine.score(Job(case, wanted))
    assert engine.tally.run == 9  # one pass for three readouts
    rows = torch.stack([case.batch.inputs, case.batch.inputs + 0.5, torch.stack(
        [Builder(case.batch, {}).build([(i, edits[2])])[0].clone() for i in range(3)])], 1)
    with torch.no_grad():
        logits = model(rows.flatten(0, 1)).view(3, 3, 5)
        inner = model[:-1](rows.flatten(0, 1)).view(3, 3, 6)  # type: ignore[index]
    assert torch.allclose(answers["output"].float(), logits, atol=1e-6)
    assert torch.allclose(answers["representation"].float(), inner, atol=1e-6)
    assert torch.allclose(answers["logit"].float(), torch.stack([logits[i, :, i] for i in range(3)]), atol=1e-6)


def test_a_model_without_a_linear_layer_has_no_representation(case: Case) -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, (H, W)), nn.Flatten())
    @metric("asks", family="test", better="higher", range=(None, None))
    def asks(case: Case) -> Generator[Request, Tensor, Outcome]:
        yield Request((Unchanged(),), readout="representation")
        raise AssertionError("answered")

    found = Engine(model, 4).score(Job(case, (Bound(asks, {}),)))["asks@1"]
    assert found.status == ("not-run:no-representation",) * 3


# -------------------------------------------------------------------------------------------------------------- regions


def test_regions_are_cut_once_per_image_and_numbered_from_zero(case: Case) -> None:
    calls: list[int] = []

    def segment(batch: Batch, n: int) -> Tensor:
        calls.append(n)
        return (torch.arange(H * W) * n // (H * W)).view(1, H, W).expand(len(batch), -1, -1)

    engine = Engine(net(), 4, segment=segment)

    @metric("asks", family="test", better="higher", range=(None, None))
    def asks(case: Case, *, n: int = 3) -> Generator[Request, Tensor, Outcome]:
        labels = yield Request((Unchanged(),), Segment(n), "map")
        return outcome(labels[:, 0].flatten(1).amax(1).double())

    two = Case(case.batch, torch.rand(3, H, W), "none")
    wanted = tuple(Bound(asks, {"n": n}) for n in (3, 5))
    known = engine.shared(case.batch, wanted_of(wanted, case))
    found = [engine.score(Job(c, wanted), known) for c in (case, two)]
    assert [f[key].values.tolist() for f in found for key in f] == [[2.0] * 3, [4.0] * 3] * 2
    assert calls == [3, 5]


def test_superpixels_depend_on_the_image_alone(batch: Batch) -> None:
    engine = Engine(net(), 4)
    labels = engine.segment(batch, 6)
    assert labels.shape == (3, H, W)
    for i in range(3):
        used = np.unique(labels[i].numpy())
        assert used.tolist() == list(range(len(used)))
        assert labels[i, 0, 0] == 0
        assert torch.equal(engine.segment(batch.select([i]), 6)[0], labels[i])
