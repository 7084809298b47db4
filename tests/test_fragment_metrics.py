"""The metrics of fragments against their oracles, and models and explanations whose score is known exactly."""

from __future__ import annotations

import itertools

import pytest
import torch
import vxp
from fragment_videos import FRAGMENTS, MODELS, Attends, maps, parts, same, scored, variants, videos
from torch import Tensor, nn
from vxp.core import Batch, Case, Normalization, VxpError
from vxp.engine import Engine, Job, Wanted, traces
from vxp.metrics import bind_all, catalogue
from vxp.models.sequences import Scorer, frame_scores

FORMS = {id: metric for id, metric in catalogue().items()
         if metric.outputs == ("sequence",) and not metric.truth and "temporal" in metric.kinds}
ALL = tuple(itertools.chain(
    (f"{end}-2022|mode:{mode}" for end in ("disc-plus", "disc-minus", "sv") for mode in ("single", "batch")),
    (f"{end}-2024|mode:{mode}|rank:{k}" for end in ("disc-plus", "disc-minus") for mode in ("one-by-one", "sequential")
     for k in (1, 2, 3)),
    (f"sv-2024|mode:{mode}" for mode in ("one-by-one", "sequential")),
    (f"rank-correlation|sign:{sign}|explanandum:{what}" for sign in ("signed", "absolute")
     for what in ("mean-score", "rank-order"))))
"""Disc, SV and rank correlation in all their forms."""


# ----------------------------------------------------------------------------------------------------------- their oracles


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("lengths", FRAGMENTS)
@pytest.mark.parametrize("name", FORMS)
def test_metric_of_fragments_equals_its_oracle(name: str, lengths: str, kind: str) -> None:
    """Ties of weights and of scores, equal weights, and too few fragments are among them."""
    batch = videos(FRAGMENTS[lengths], kind == "exact")
    same(frame_scores(MODELS[kind]()), Case(batch, maps(batch, "fragment"), "fragment"), name, variants(name))


@pytest.mark.parametrize("name", FORMS)
def test_scores_of_frames_count_by_their_mean_over_a_fragment(name: str) -> None:
    batch = videos(FRAGMENTS["eight"], False)
    same(frame_scores(Attends()), Case(batch, maps(batch, "frame"), "frame"), name, variants(name)[:2])


def test_means_of_equal_values_are_equal_however_many_they_are() -> None:
    batch = videos(FRAGMENTS["eight"], False, items=1)
    weights = Case(batch, torch.full((1, batch.space[0]), 0.1), "frame").weights()
    assert weights.shape == (1, 8)
    assert (weights == weights[0, 0]).all()


@pytest.mark.parametrize("name", FORMS)
def test_scores_that_are_all_equal_are_undefined(name: str) -> None:
    class Still(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * x[..., 0] + 0.5

    batch = videos(FRAGMENTS["eight"], False, items=2)
    asked = (name, {"explanandum": "rank-order"} if name == "rank-correlation" else {})
    (found,) = scored(frame_scores(Still()), Case(batch, maps(batch, "fragment"), "fragment"), asked).values()
    assert found.status == ("undefined:constant-scores",) * 2
    assert found.values.isnan().all()


def test_the_same_change_everywhere_has_no_rank() -> None:
    class Still(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * x[..., 0] + 0.1

    batch = videos(FRAGMENTS["eight"], False, items=2)
    found = scored(frame_scores(Still()), Case(batch, maps(batch, "fragment"), "fragment"), "rank-correlation")
    assert next(iter(found.values())).status == ("undefined:zero-variance",) * 2


# ---------------------------------------------------------------------------------------------------- neighbours and rows


@pytest.mark.parametrize("name", FORMS)
def test_no_score_depends_on_neighbours_or_batches(name: str) -> None:
    batch = videos(FRAGMENTS["eight"], False)
    native = maps(batch, "fragment")
    native[2, 1] = float("nan")
    model = frame_scores(Attends())
    for variant in variants(name):
        (together,) = scored(model, Case(batch, native, "fragment"), (name, variant)).values()
        assert together.status[2] == "undefined:non-finite-map"
        for i in range(3):
            one = Case(batch.select([i]), native[i : i + 1], "fragment")
            (alone,) = scored(model, one, (name, variant), size=1).values()
            assert alone.status[0] == together.status[i]
            assert float(alone.values) == pytest.approx(float(together.values[i]), abs=1e-9, nan_ok=True)


def test_a_video_of_ten_fragments_takes_fifteen_passes_for_all_forms() -> None:
    """The video, each fragment without the others of ten, two fragments of an end (1 to 20 % of ten, and rank 2), and three."""
    batch = videos([2] * 10, False, items=1)
    engine, case = Engine(frame_scores(Attends())), Case(batch, torch.randn(1, 10), "fragment")
    found = engine.score(Job(case, bind_all(ALL)))
    assert all(one.status == ("ok",) for one in found.values())
    assert len(found) == len(ALL)
    assert engine.tally.run == 1 + 10 + 2 * 2


def test_a_second_explanation_takes_no_pass_for_what_depends_on_none() -> None:
    batch = videos([2] * 10, False, items=1)
    wanted = bind_all([name for name in ALL if "batch" not in name and "sequential" not in name])
    engine, first = Engine(frame_scores(Attends())), Case(batch, torch.randn(1, 10), "fragment")
    found = traces(wanted, batch, [first.kind], engine.output)
    known = engine.shared(batch, Wanted.of(trace.wanted for trace in found.values()))
    assert engine.tally.run == 11
    scores = [engine.score(Job(Case(batch, torch.randn(1, 10), "fragment"), wanted), known) for _ in range(3)]
    assert engine.tally.run == 11
    alone = scored(frame_scores(Attends()), first, *(b.signature for b in wanted))
    again = engine.score(Job(first, wanted), known)
    assert {name: one.values.tolist() for name, one in alone.items()} == {n: o.values.tolist() for n, o in again.items()}
    assert len({tuple(float(o.values) for o in one.values()) for one in scores}) == 3


def test_a_model_of_one_length_costs_the_scores_that_leave_frames_out() -> None:
    class OfTwelve(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.arange(1.0, 13))

        def forward(self, x: Tensor) -> Tensor:
            return x[..., 0] * self.weight

    batch = videos(FRAGMENTS["four"], False)
    engine, wanted = Engine(frame_scores(OfTwelve())), bind_all(["disc-plus-2024|fill:remove", "disc-plus-2024"])
    case = Case(batch, maps(batch, "fragment"), "fragment")
    found = traces(wanted, batch.select([0]), [case.kind], engine.output)
    scores = engine.score(Job(case, wanted), engine.shared(batch, Wanted.of(t.wanted for t in found.values())))
    assert [one.status[0] for one in scores.values()] == ["not-run:fixed-length", "ok"]


# ------------------------------------------------------------------------------------------------------ exact explanations


class Sums(nn.Module):
    """Frame t scores its feature; those of feature 1 are added to all frames' scores, so that every fragment changes the mean
    by a known amount, and the order by nothing but its own frames."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., 0] + x[..., 1].sum(1, keepdim=True) / 8


def known() -> tuple[Case, Tensor]:
    """A video whose mean score loses, with every fragment zeroed, what the second value says."""
    of = parts([2] * 8)
    feature = torch.tensor([0.5, -0.25, 1.0, 0.75, -1.0, 0.25, 0.125, -0.5])[of].view(1, 1, -1)
    own = torch.arange(16.0).view(1, 1, -1) / 16
    inputs = torch.cat([own, feature, torch.zeros_like(own)], 1)
    batch = Batch(("a",), inputs, torch.tensor([-1]), Normalization((0.0,), (1.0,)), parts={"fragment": of[None]})
    per_fragment = torch.stack([(own[0, 0, of == k].sum() / 16) + feature[0, 0, of == k].sum() / 8 for k in range(8)])
    return Case(batch, per_fragment[None], "fragment"), per_fragment


def test_what_each_fragment_does_to_the_mean_is_the_ceiling_and_its_opposite_the_floor() -> None:
    """Turned round, the explanation is perfect in absolute value."""
    case, per_fragment = known()
    for sign, expected_value in ((1.0, 1.0), (-1.0, -1.0)):
        turned = Case(case.batch, sign * per_fragment[None], "fragment")
        found = scored(frame_scores(Sums()), turned, "rank-correlation", "rank-correlation|sign:absolute")
        signed, absolute = (float(one.values) for one in found.values())
        assert signed == pytest.approx(expected_value)
        assert absolute == pytest.approx(1.0)


@pytest.mark.parametrize("fill", ["zero", "remove", "hold", "mean-step"])
def test_leave_one_out_of_the_order_is_the_ceiling_of_what_reads_the_order(fill: str) -> None:
    """SV 0 and rank correlation 1 in either form; its opposite has SV 1 and -1."""
    batch, model = videos([2] * 10, False), frame_scores(Attends(3))
    change = torch.zeros(3, 10, dtype=torch.float64)
    for k in range(10):
        first = torch.zeros(3, 10)
        first[:, k] = 1
        (one,) = scored(model, Case(batch, first, "fragment"), f"disc-plus-2024|fill:{fill}").values()
        change[:, k] = 1 - one.values
    assert all(len(set(row.tolist())) > 3 for row in change), "it ranks something"
    names = [f"{name}|fill:{fill}" for name in ("sv-2022", "sv-2024", "rank-correlation|explanandum:rank-order")]
    for sign, wanted in ((1, [0, 0, 1]), (-1, [1, 1, -1])):
        found = scored(model, Case(batch, (sign * change).float(), "fragment"), *names)
        assert [one.values.tolist() for one in found.values()] == [pytest.approx([value] * 3) for value in wanted]


def test_the_years_have_columns_of_their_own_and_opposite_directions() -> None:
    for end in ("plus", "minus"):
        first, second = (catalogue()[f"disc-{end}-{year}"] for year in (2022, 2024))
        assert {first.better, second.better} == {"higher", "lower"}
        assert first.range != second.range


def test_a_fragment_that_changes_nothing_leaves_the_order() -> None:
    """Of frames that are left out the others are compared: nothing changes where no frame sees another."""
    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[..., 0]

    batch = videos(FRAGMENTS["eight"], False)
    case = Case(batch, maps(batch, "fragment"), "fragment")
    found = scored(frame_scores(Own()), case, *(f"{name}|fill:remove" for name in ALL if "rank" not in name or "2024" in name))
    for signature, one in found.items():
        name = signature.partition("@")[0]
        wanted = {"disc-plus-2022": 0, "disc-minus-2022": 0, "sv-2022": 1, "sv-2024": 0}.get(name, 1)
        assert one.values[:2].tolist() == pytest.approx([wanted] * 2, abs=1e-12), signature


# ------------------------------------------------------------------------------------------------- what they do not take


def test_a_map_and_a_model_of_classes_have_no_score_of_fragments() -> None:
    class Classes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(2)

    batch = videos(FRAGMENTS["eight"], False, items=2)
    of_classes = Batch(batch.ids, batch.inputs, torch.zeros(2, dtype=torch.long), batch.normalization, parts=batch.parts)
    found = scored(Classes(), Case(of_classes, maps(batch, "fragment"), "fragment"), *FORMS)
    assert {one.status for one in found.values()} == {("not-run:output",) * 2}
    image = vxp.score(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 2)), torch.rand(1, 3, 4, 4), torch.rand(1, 4, 4),
                      metrics=list(FORMS))
    assert {one.status for one in image.values()} == {("not-run:kind",)}


def test_items_that_are_not_divided_are_refused() -> None:
    batch = videos(FRAGMENTS["eight"], False, items=2)
    whole = Batch(batch.ids, batch.inputs, batch.targets, batch.normalization)
    with pytest.raises(VxpError, match=r"not divided into fragments.*fragments="):
        scored(frame_scores(Attends()), Case(whole, torch.rand(2, batch.space[0]), "frame"), "disc-plus-2022")


def test_fragments_of_clips_are_left_out_whole() -> None:
    """A summariser of frames themselves scores as that of their features does."""
    class OfFrames(nn.Module):
        def forward(self, clips: Tensor) -> Tensor:
            return attends(clips[..., 0, 0].transpose(1, 2))

    attends, batch = Attends(), videos(FRAGMENTS["eight"], False)
    clips = Batch(batch.ids, batch.inputs[..., None, None].expand(-1, -1, -1, 2, 3).contiguous(), batch.targets,
                  parts=batch.parts)
    native = maps(batch, "fragment")
    for fill in ("remove", "hold"):
        names = [f"{name}|fill:{fill}" for name in (*ALL, "fragment-deletion")]
        ours = scored(Scorer(OfFrames(), "bcthw"), Case(clips, native, "fragment"), *names)
        theirs = scored(frame_scores(attends), Case(batch, native, "fragment"), *names)
        for signature, one in ours.items():
            assert one.status == theirs[signature].status
            assert one.values.tolist() == pytest.approx(theirs[signature].values.tolist(), abs=1e-9, nan_ok=True)
