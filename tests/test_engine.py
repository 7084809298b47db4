"""The engine: equal rows run once, both ways of building rows agree, nothing depends on the batch size."""

import itertools
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from oracles import fills, masking
from plain_fills import Plain
from torch import Tensor, nn
from vxp.core import (
    Batch,
    Blended,
    Case,
    Cell,
    Edit,
    Filled,
    Noised,
    Normalization,
    Outcome,
    Plan,
    Readout,
    Redrawn,
    Removed,
    Request,
    Scattered,
    SomeCells,
    Square,
    Stream,
    Unchanged,
    VxpError,
    Without,
    metric,
)
from vxp.core.perturb import IMAGES, levels
from vxp.engine import Engine, Job, Wanted, best_batch_size, traces
from vxp.engine.building import Builder, difference
from vxp.kinds import HEATMAP2D
from vxp.metrics import Bound, bind, bind_all
from vxp.outputs import CLASSES


class Linear(nn.Module):
    """Logits are a fixed random projection of the input."""

    def __init__(self, values: int, classes: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weight = nn.Parameter(torch.randn(values, classes, generator=generator) / values**0.5)
        self.rows = 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return x.flatten(1) @ self.weight


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(3)
    raw = torch.rand(3, 3, 12, 10, generator=generator)
    norm = Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    return Batch(("a", "b", "c"), norm.to_inputs(raw), torch.tensor([0, 1, 2]), norm, seed=7)


@pytest.fixture
def case(batch: Batch) -> Case:
    return Case(batch, torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(4)), "none")


def brute(case: Case, i: int, edit: Edit) -> Tensor:
    """One row by the definition of its edit."""
    x = case.batch.inputs[i]
    builder = Plain(case.batch)
    match edit:
        case Unchanged():
            return x
        case Filled(fill):
            return builder.fill(fill)[i]
        case Removed(_, a, b, fill):
            ranks = case.order[i].argsort().view(case.batch.space)
            return torch.where((ranks >= a) & (ranks < b), builder.fill(fill)[i], x)
        case Blended(mask, fill):
            blended = masking.blended(x.numpy(), builder.fill(fill)[i].numpy(), case.masks[mask][i].numpy())
            return torch.from_numpy(blended).float()
        case Redrawn(image):
            own = (case.batch.normalization.to_raw(x.double()).clamp(0, 1) * 255 + 0.5).floor()
            drawn = case.images[image][i]
            return torch.where(drawn == own, x, case.batch.normalization.to_inputs(drawn.float() / 255))
        case _:
            raise AssertionError(edit)


def test_rows_are_what_their_edits_say(case: Case) -> None:
    P = case.batch.positions
    mask = case.mask("m", lambda: torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(9)))
    spans = [(0, k) for k in (1, 5, 60, 119)] + [(k, P) for k in (1, 40, 100)] + [(10, 30), (20, 90)]
    edits: list[Edit] = [Unchanged(), *(Filled(fill) for fill in IMAGES), Blended(mask, "black")]
    # the first channel as it is, the others drawn
    edits.append(Redrawn(case.image("d", lambda: torch.cat([levels(case.batch.raw().double())[:, :1], torch.randint(
        0, 256, (3, 2, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))], 1))))
    edits += [Removed(case.ranked, a, b, fill) for fill in ("mean", "black") for a, b in spans]
    plan = list(itertools.product(range(3), edits))
    generator = torch.Generator().manual_seed(1)
    shuffled = [plan[i] for i in torch.randperm(len(plan), generator=generator).tolist()]
    for rows in (plan, shuffled):
        built = Builder(case.batch, {case.key: case}).build(rows)
        for row, (i, edit) in zip(built, rows, strict=True):
            torch.testing.assert_close(row, brute(case, i, edit), atol=1e-6, rtol=0)


@pytest.mark.parametrize("fill", ["black", "mean", "noise", "image-mean"])
def test_a_blended_row_is_that_of_the_oracle_to_the_bit(batch: Batch, fill: str) -> None:
    """With masks that are 0, 1 and between, and an image of which a part has the fill's values already."""
    case = Case(batch, torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(4)), "none")
    plain = Builder(batch, {}).fill(fill)
    same = torch.rand(3, 1, 12, 10, generator=torch.Generator().manual_seed(5)) < 0.3
    batch.inputs.copy_(torch.where(same & (fill != "image-mean"), plain, batch.inputs))
    soft = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(6)) * 1.4 - 0.2
    name = case.mask("m", lambda: soft.clamp(0, 1))
    rows = Builder(batch, {case.key: case}).build([(i, Blended(name, fill)) for i in range(3)])
    for i, (x, row) in enumerate(zip(batch.inputs, rows, strict=True)):
        norm = batch.normalization
        other = fills.fill(fill, x.double().numpy(), norm.mean, norm.std, batch.seed, batch.ids[i])
        assert np.array_equal(row.double().numpy(), masking.blended(x.double().numpy(), other, soft[i].clamp(0, 1).numpy()))
        assert torch.equal(row[:, soft[i] >= 1], x[:, soft[i] >= 1])
        assert fill == "image-mean" or torch.equal(row[:, same[i, 0]], x[:, same[i, 0]])


def test_an_image_that_is_the_fill_has_one_row(batch: Batch) -> None:
    """Raw and back, 0.3*x + 0.7*x is not x: the masked image was another one, and its confidence rose by rounding."""
    black = replace(batch, inputs=batch.normalization.to_inputs(torch.zeros_like(batch.inputs)))
    wanted = bind_all([f"{m}|keep:100|mask:soft|fill:black" for m in ("increase-in-confidence", "average-drop",
                                                                      "average-gain")])
    maps = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(4))
    found = Engine(Linear(360), 5).score(Job(Case(black, maps, "none"), wanted))
    assert [o.values.tolist() for o in found.values()] == [[0, 0, 0]] * 3


def test_both_builders_agree_to_the_bit(case: Case) -> None:
    """The one that copies the previous row (CPU) and the one that selects in one pass (GPU)."""
    groups = case.grouped("g", lambda: torch.arange(120).expand(3, -1) % 7)
    stream = Stream("m@1", "s")
    kinds: list[list[tuple[int, Edit]]] = [
        [(1, Removed(case.ranked, a, b, "mean")) for a, b in [(0, 1), (0, 50), (0, 119), (30, 120), (7, 9)]],
        [(2, Removed(groups, a, b, "blur")) for a, b in [(0, 1), (0, 6), (2, 5)]],
        [(0, Without(part, "black")) for part in (
            Scattered(stream, 0, 30), Cell(3, 4), Scattered(stream, 6, 1), Square(stream, 0, 4), SomeCells(3, stream, 1, 4),
            SomeCells(4, stream, 1, 4), Scattered(stream, 1, 119))],
        [(i, Noised(stream, draw, 0.2)) for draw in (0, 5, 2**33) for i in (0, 2)]]
    for rows in kinds:
        builder = Builder(case.batch, {case.key: case})
        together = torch.empty(len(rows), *case.batch.inputs.shape[1:])
        builder.together(together, rows)
        assert torch.equal(together, builder.build(rows))


def test_known_pixels_of_an_imputed_row_are_untouched(case: Case) -> None:
    edit = Removed(case.ranked, 0, 60, "nli")
    row = Builder(case.batch, {case.key: case}).build([(2, edit)])[0].flatten(1)
    gone, kept = case.order[2, :60], case.order[2, 60:]
    assert torch.equal(row[:, kept], case.batch.inputs[2].flatten(1)[:, kept])
    assert (row[:, gone] != case.batch.inputs[2].flatten(1)[:, gone]).all()


def test_noise_is_keyed_by_item_and_stays_in_the_ball(case: Case) -> None:
    edits = [Noised(Stream("max-sensitivity@1", "noise"), draw, 0.2) for draw in (0, 1)]
    builder = Builder(case.batch, {})
    noise = builder.build([(i, e) for i in range(3) for e in edits]) - case.batch.inputs.repeat_interleave(2, 0)
    assert noise.abs().max() <= 0.2 + 1e-6
    assert noise.abs().max() > 0.19
    assert abs(float(noise.mean())) < 0.01
    assert len({round(float(n.sum()), 4) for n in noise}) == 6
    alone = Builder(case.batch.select([1]), {}).build([(0, edits[1])])[0]
    assert torch.equal(alone, builder.build([(1, edits[1])])[0])


def test_the_core_suite_runs_each_row_once(batch: Batch) -> None:
    """By hand at S steps: S-1 rows each for removal, insertion into mean and into blur; unchanged, mean and blurred
    image; three masked images; 18 imputed ones."""
    model, steps = Linear(360), 10
    one = batch.select([0])
    case = Case(one, torch.rand(1, 12, 10, generator=torch.Generator().manual_seed(4)), "none")
    wanted = bind_all([f"deletion|steps:{steps}", f"insertion|steps:{steps}", f"srg|steps:{steps}", f"morf|steps:{steps}",
                       f"lerf|steps:{steps}", "road-morf", "road-lerf",
                       *(f"{m}|keep:{k}" for m in ("average-drop", "increase-in-confidence", "average-gain")
                         for k in (100, 50, 15))])
    engine = Engine(model, 7)
    engine.score(Job(case, wanted))
    assert engine.tally.run == model.rows == 3 * (steps - 1) + 3 + 3 + 18
    assert engine.tally.asked > 2 * engine.tally.run


def test_two_explainers_share_what_does_not_depend_on_the_map(batch: Batch) -> None:
    cases = [Case(batch, torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(s)), "none") for s in (1, 2)]
    wanted = bind_all(["deletion|steps:4"])
    apart = Engine(Linear(360), 8)
    for c in cases:
        apart.score(Job(c, wanted))
    together = Engine(Linear(360), 8)
    traced = traces(wanted, batch.select([0]), [HEATMAP2D], CLASSES)
    known = together.shared(batch, Wanted.of(t.wanted for t in traced.values()))
    both = [together.score(Job(c, wanted), known) for c in cases]
    assert apart.tally.run - together.tally.run == 2 * len(batch)
    assert not torch.equal(both[0]["deletion@1|steps:4|fill:mean"].values, both[1]["deletion@1|steps:4|fill:mean"].values)


def test_known_rows_are_not_run_again(case: Case) -> None:
    wanted = bind_all(["deletion|steps:4"])
    first = Engine(Linear(360), 8)
    known = first.shared(case.batch, Wanted((Unchanged(), Filled("mean"))))
    plain, given = Engine(Linear(360), 8), Engine(Linear(360), 8)
    a = plain.score(Job(case, wanted))
    b = given.score(Job(case, wanted), known)
    assert given.tally.run == plain.tally.run - 6
    torch.testing.assert_close(*(s["deletion@1|steps:4|fill:mean"].values for s in (a, b)), atol=1e-9, rtol=0)


def test_readouts_by_hand() -> None:
    logits = torch.tensor([[0.0, 1.0, 3.0]])
    log_p, log_rest, logit, argmax = CLASSES.read(logits, torch.tensor([1]))[0].tolist()
    p = math.e / (1 + math.e + math.e**3)
    assert math.exp(log_p) == pytest.approx(p, rel=1e-12)
    assert math.exp(log_rest) == pytest.approx(1 - p, rel=1e-12)
    assert (logit, argmax) == (1.0, 2.0)


def test_complement_does_not_cancel() -> None:
    """1 - p of a very sure model is far below float64's distance from 1, and still a number."""
    assert CLASSES.read(torch.tensor([[60.0, 0.0]]), torch.tensor([0]))[0, 1].item() == pytest.approx(-60.0)


def test_difference_of_spans() -> None:
    for a, b, c, d in itertools.product(range(6), repeat=4):
        if a < b and c < d:
            left = {x for s, t in difference((a, b), (c, d)) for x in range(s, t)}
            assert left == set(range(a, b)) - set(range(c, d))


def test_out_of_memory_halves_the_batch_and_goes_on(case: Case) -> None:
    class Tight(Linear):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 2:
                raise torch.OutOfMemoryError("pretend")
            return super().forward(x)

    wanted = bind_all(["deletion|steps:4"])
    engine = Engine(Tight(360), 16)
    small = engine.score(Job(case, wanted))
    large = Engine(Linear(360), 16).score(Job(case, wanted))
    assert engine.batch_size == 2
    name = bind("deletion|steps:4").signature
    torch.testing.assert_close(small[name].values, large[name].values, atol=1e-7, rtol=0)


def test_out_of_memory_with_one_row_is_said(case: Case) -> None:
    class Full(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("pretend")

    with pytest.raises(VxpError, match="one row at a time"):
        Engine(Full(), 4).score(Job(case, bind_all(["deletion|steps:2"])))


def test_a_failing_explainer_costs_its_own_scores_only(case: Case) -> None:
    def broken(model: nn.Module, batch: Batch) -> Tensor:
        raise RuntimeError("third-party code")

    wanted = bind_all(["deletion|steps:2", "random-logit|window:5", "entropy"])
    found = Engine(Linear(360), 4).score(Job(case, wanted, broken))
    statuses = {name.split("@")[0]: o.status for name, o in found.items()}
    assert statuses["random-logit"] == ("failed:explainer-error",) * 3
    assert statuses["deletion"] == statuses["entropy"] == ("ok",) * 3


@pytest.mark.parametrize("size", [1, 2, 16])
def test_an_item_that_cannot_be_explained_again_costs_itself_only(case: Case, size: int) -> None:
    """Whatever shares its batch, as the set's own maps do."""
    def explain(model: nn.Module, batch: Batch) -> Tensor:
        if "b" in batch.ids:
            raise RuntimeError("not this one")
        return batch.inputs[:, 0]

    wanted = bind_all(["max-sensitivity|samples:2", "deletion|steps:4"])
    found = Engine(Linear(360), size).score(Job(case, wanted, explain))
    again, once = found[wanted[0].signature], found[wanted[1].signature]
    assert again.status == ("ok", "failed:explainer-error", "ok")
    assert math.isnan(again.values[1])
    assert once.status == ("ok",) * 3


def test_precision_switches_are_restored(case: Case) -> None:
    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    exact = Engine(Linear(360), 4).score(Job(case, bind_all(["deletion|steps:2"])))
    coarse = Engine(Linear(360), 4, "bf16").score(Job(case, bind_all(["deletion|steps:2"])))
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
    (a,), (b,) = ([o.values for o in s.values()] for s in (exact, coarse))
    assert not torch.equal(a, b)
    torch.testing.assert_close(a, b, atol=2e-2, rtol=0)


def test_best_batch_size_stops_where_memory_does() -> None:
    class Tight(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 4:
                raise torch.OutOfMemoryError("pretend")
            return x.flatten(1)

    assert best_batch_size(Tight(), torch.zeros(1, 3, 8, 8)) <= 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gives_the_same_scores(case: Case) -> None:
    wanted = bind_all(["deletion|steps:6", "insertion|steps:6", "road-morf", "average-drop|keep:50", "entropy", "gini"])
    here = Engine(Linear(360), 8).score(Job(case, wanted))
    moved = Case(case.batch.to("cuda"), case.native.cuda(), "none")
    there = Engine(Linear(360).cuda(), 8).score(Job(moved, wanted))
    for name in here:
        torch.testing.assert_close(here[name].values, there[name].values, atol=1e-5, rtol=0)


class Placed(Linear):
    """Its outputs depend, a little, on the place in the batch, as those of a library may."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-6 * torch.arange(len(x))[:, None] * torch.tensor([1.0, 0, 0, 0])


def test_a_row_with_the_unchanged_input_has_its_output(case: Case) -> None:
    """A mask that is 1 everywhere, and the fill blur at a size at which it changes nothing."""
    engine = Engine(Placed(360), batch_size=7)
    wanted = bind_all(["increase-in-confidence|keep:100|mask:binary", "faithfulness-correlation|fill:blur"])
    found = engine.score(Job(Case(case.batch, case.native, "none"), tuple(wanted)))
    assert found[wanted[0].signature].values.tolist() == [0, 0, 0]
    assert set(found[wanted[1].signature].status) == {"undefined:zero-variance"}


class Infinite(Linear):
    """An infinite logit where the first position is removed: its value is then the fill's, 0."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        out[x.flatten(1)[:, 0] == 0, 0] = float("inf")
        return out


@pytest.mark.parametrize("name", ["deletion|steps:4", "mu-fidelity|grid:3|samples:20", "single-deletion|grid:2",
                                  "completeness|fill:mean", "non-sensitivity|grid:2", "monotonicity|steps:4"])
def test_an_output_that_is_not_finite_is_never_a_number(name: str, case: Case) -> None:
    case = replace(case, batch=replace(case.batch, targets=torch.zeros(3, dtype=torch.long)))
    wanted = bind(name)
    found = Engine(Infinite(360), batch_size=8).score(Job(case, (wanted,)))[wanted.signature]
    assert set(found.status) == {"failed:non-finite-score"}
    assert torch.isnan(found.values).all()


class Beside(Linear):
    """The same of a class that is nobody's target."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        out[(x == 0).flatten(1).any(1), 3] = float("inf")
        return out


LOGIT = ["pixel-flipping|steps:4", "faithfulness-estimate|steps:4|readout:logit", "completeness|fill:mean",
         "faithfulness-correlation|samples:8", "infidelity|samples:8", "mu-fidelity|grid:3|samples:20",
         "sensitivity-n|samples:8", "non-sensitivity|grid:2", "single-deletion|grid:2"]


@pytest.mark.parametrize("name", LOGIT)
def test_a_logit_is_a_number_whatever_that_of_another_class(name: str, case: Case) -> None:
    """5.11.8: a score fails by the numbers that its formula takes, and a logit takes one."""
    case = replace(case, batch=replace(case.batch, targets=torch.zeros(3, dtype=torch.long)))
    wanted = bind(name)
    sound, found = (Engine(model, batch_size=8).score(Job(case, (wanted,)))[wanted.signature]
                    for model in (Linear(360), Beside(360)))
    assert set(sound.status) == {"ok"}
    assert found.status == sound.status
    assert torch.equal(found.values, sound.values)


class Tokens(nn.Module):
    """A last linear layer that sees every row twice, or none at all."""

    def __init__(self, linear: bool) -> None:
        super().__init__()
        self.last = nn.Linear(180, 4) if linear else nn.Conv2d(3, 4, (12, 10))

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.last, nn.Linear):
            return self.last(x.reshape(2 * len(x), -1)).view(len(x), 2, 4).mean(1)
        return self.last(x).flatten(1)


@pytest.mark.parametrize("linear", [True, False])
def test_a_model_without_a_representation_has_no_score_of_it(linear: bool, case: Case) -> None:
    asked: list[int] = []

    def explain(module: nn.Module, batch: Batch) -> Tensor:
        asked.append(len(batch))
        return batch.inputs.sum(1)

    case.native[1] = float("nan")  # not run goes before what the map says
    wanted = bind_all(["relative-representation-stability|samples:2", "gini"])
    found = Engine(Tokens(linear), batch_size=2).score(Job(case, wanted, explain))
    assert found[wanted[0].signature].status == ("not-run:no-representation",) * 3
    assert found[wanted[0].signature].values.isnan().all()
    assert found[wanted[1].signature].status == ("ok", "undefined:non-finite-map", "ok")
    assert not asked


def test_the_outputs_of_a_model_in_float64_are_float32(case: Case) -> None:
    """5.1.2: logits and representation alike."""
    seen: dict[str, Tensor] = {}

    def plan(case: Case, readout: Readout) -> Plan:
        seen[readout] = yield Request((Unchanged(),), readout=readout)
        return Outcome(torch.zeros(3), ("ok",) * 3)

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(360, 4).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x.double().flatten(1) / 3)

    for readout in ("logit", "output", "representation"):
        declared = metric("m", family="other", better="higher", range=(0, 1))(partial(plan, readout=readout))
        Engine(Wide()).score(Job(case, (Bound(declared, {}),)))
        assert torch.equal(seen[readout], seen[readout].float().double()), readout


def test_readouts_of_a_row_with_an_infinite_logit() -> None:
    found = CLASSES.read(torch.tensor([[1.0, 2.0, float("inf")]] * 2), torch.tensor([1, 2]))
    assert found[0].isnan().tolist() == [True, True, False, True]
    assert float(found[0, 2]) == 2.0
    assert found[1].isnan().all()


def test_a_size_without_variance_comes_before_another_whose_outputs_are_not_finite(case: Case) -> None:
    """sensitivity-n: 96 of 120 positions removed give an infinite logit, 24 of them change nothing."""
    class Steep(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            gone = (x.flatten(1) == 0).double().mean(1) > 0.5
            return torch.where(gone[:, None], torch.tensor(float("inf")), torch.arange(4.0))

    wanted = bind_all(["sensitivity-n|sizes:2|samples:5", "sensitivity-n|sizes:1|samples:5"])
    both, first = Engine(Steep(), 8).score(Job(case, wanted)).values()
    assert set(both.status) == {"undefined:zero-variance"}
    assert set(first.status) == {"failed:non-finite-score"}


def test_nearest_is_exact() -> None:
    """floor((2i + 1)*10 / 598) in integers: a scale rounded to float32 takes row 4 for the middle of 299."""
    grid = torch.arange(10.0)[None, :, None].expand(1, 10, 10)
    found = HEATMAP2D.resampled(grid, (299, 299), "nearest")[0, :, 0]
    assert found.tolist() == [(2 * i + 1) * 10 // 598 for i in range(299)]
    assert found[149] == 5
