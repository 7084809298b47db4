"""Explainers of the fragments of a video: models whose right answer is known, and plain loops by the definitions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from oracles import UndefinedError
from oracles import fragments as oracle
from torch import Tensor, nn
from vxp import explainers, models, tasks
from vxp.core import Batch, Normalization, VxpError
from vxp.datasets import montage
from vxp.explainers import bind, catalogue
from vxp.kinds import TEMPORAL
from vxp.maintain import train_montage
from vxp.metrics import _fragments
from vxp.models import loading
from vxp.models.sequences import Layout, Scorer
from vxp.models.summariser import Summariser
from vxp.random import key, uniforms
from vxp.runs import run
from vxp_explainers import _common

D, N, S = 6, 12, 4
OF = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3])
REFERENCES = {"random", "centre-gaussian", "leave-one-out"}
METHODS = sorted(id for id, found in catalogue().items() if "temporal" in found.kinds and not found.reference
                 and "sequence" in found.outputs)
ASKING = ("fragment-lime", "fragment-shap", "leave-one-out")
"""Those that have an explanandum."""
FILLS = ("remove", "zero", "mean-step", "hold")
everyone = pytest.mark.parametrize("name", sorted({*METHODS, *REFERENCES}))


def made(n: int = 3, seed: int = 0, of: Tensor = OF, width: int = D) -> Batch:
    inputs = torch.randn(n, width, len(of), generator=torch.Generator().manual_seed(5))
    return Batch(tuple(f"video-{i}" for i in range(n)), inputs, torch.full((n,), -1), Normalization((0.0,), (1.0,)), seed,
                 parts={"fragment": of.expand(n, -1)})


@cache
def small() -> Scorer:
    """A summariser of any weights. It tells all distances apart, so that rounding decides no order of steps that are alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Summariser(D, 5, N)
        nn.init.normal_(model.weight, std=3.0)
        nn.init.normal_(model.distance)
    return Scorer(model.requires_grad_(False)).eval()


def weights(name: str, model: nn.Module, batch: Batch, **parameters: Any) -> Tensor:
    return bind(name, parameters)(model, batch)


class Additive(nn.Module):
    """The score of a step is its first feature: the mean score is a sum over fragments, and none depends on another."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., 0]


class Attending(nn.Module):
    """Scores are what steps attend to, by a given attention."""

    def __init__(self, attention: Tensor, worth: Tensor) -> None:
        super().__init__()
        self.given, self.worth = attention, worth

    def attention(self, x: Tensor) -> Tensor:
        return self.given.expand(*x.shape[:-2], *self.given.shape)

    def attended(self, x: Tensor, attention: Tensor) -> Tensor:
        return attention @ self.worth

    def forward(self, x: Tensor) -> Tensor:
        return self.attended(x, self.attention(x))


# ------------------------------------------------------------------------------------------ what all of them have in common


def test_the_explainers_of_fragments() -> None:
    assert {"fragment-lime", "fragment-shap", "fragment-occlusion", "frame-attention", "gradient-x-attention"} <= set(METHODS)
    for name in METHODS:
        assert (catalogue()[name].resample, catalogue()[name].target_specific) == ("fragment", False)
    said = {name: catalogue()[name].explains(catalogue()[name].parameters) for name in [*METHODS, *REFERENCES]}
    assert {said[name] for name in (*ASKING, *REFERENCES)} == {"rank-order"}
    assert bind("fragment-lime|explanandum:mean-score").explainer.explains({"explanandum": "mean-score"}) == "mean-score"
    assert (said["fragment-occlusion"], said["gradient-x-attention"]) == ("frame-score", "mean-score")
    assert set(explainers.references((), "temporal")) == REFERENCES


@everyone
def test_scores_have_the_declared_form(name: str) -> None:
    got = weights(name, small(), made())
    assert (got.shape, got.dtype, got.requires_grad) == ((3, S), torch.float32, False)
    assert torch.isfinite(got).all()
    assert catalogue()[name].signed or (got >= 0).all()
    assert got.std(1).max() > 0
    bound = bind(name).on(TEMPORAL)
    assert bound.explainer.resample == "fragment"
    on_steps = TEMPORAL.resampled(got, (N,), bound.explainer.resample, made().parts)
    assert torch.equal(on_steps, got[:, OF])


@everyone
def test_a_video_does_not_depend_on_its_neighbours(name: str) -> None:
    batch = made()
    together = weights(name, small(), batch)
    torch.testing.assert_close(weights(name, small(), batch.select([2, 0])), together[[2, 0]], rtol=1e-4, atol=1e-6)
    assert torch.equal(weights(name, small(), batch), together)


@pytest.mark.parametrize("name", ["fragment-lime", "fragment-shap", "random"])
def test_the_seed_is_the_batch_s_where_something_is_drawn(name: str) -> None:
    few = {} if name == "random" else {"samples": 9}
    one, other = (weights(name, small(), made(seed=seed), **few) for seed in (0, 1))
    assert not torch.equal(one, other)
    if few:
        every, again = (weights(name, small(), made(seed=seed), samples=1 << S) for seed in (0, 1))
        assert torch.equal(every, again)


@everyone
def test_chunks_of_rows_do_not_change_a_score(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = weights(name, small(), made())
    monkeypatch.setattr(_common, "ROWS", 3)
    torch.testing.assert_close(weights(name, small(), made()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*METHODS, "leave-one-out"])
def test_a_model_in_train_mode_without_gradients_is_explained_alike(name: str) -> None:
    model = Scorer(nn.Sequential(nn.Dropout(0.5), nn.Linear(D, 1))) if "attention" not in name else small()
    expected = weights(name, model.eval(), made())
    with torch.no_grad():
        assert torch.equal(weights(name, model.train(), made()), expected)
    assert model.training


@pytest.mark.parametrize(("name", "rows"), [
    ("leave-one-out", 11), ("fragment-occlusion", 11), ("fragment-lime", 1024), ("fragment-shap", 1024)])
def test_nominal_passes_are_those_of_ten_fragments(name: str, rows: int) -> None:
    batch = made(2, of=torch.arange(10).repeat_interleave(2))
    with models.Passes(small()) as passes:
        weights(name, small(), batch)
    assert passes.forward == 2 * rows == 2 * bind(name).passes


@pytest.mark.parametrize("name", ["fragment-lime", "fragment-shap"])
def test_fewer_samples_are_as_many_passes(name: str) -> None:
    bound = bind(name, {"samples": 7})
    with models.Passes(small()) as passes:
        bound(small(), made(1, of=torch.arange(9)))
    assert passes.forward <= bound.passes == 7


# ------------------------------------------------------------------------------------------------------------ exact answers


def contributions(batch: Batch) -> Tensor:
    """What every fragment adds to the mean of an additive model, by plain loops."""
    found = torch.zeros(len(batch), S, dtype=torch.float64)
    for i, t in itertools.product(range(len(batch)), range(N)):
        found[i, OF[t]] += batch.inputs[i, 0, t].double() / N
    return found


@pytest.mark.parametrize(("name", "given"), [
    ("fragment-lime", {"ridge": 0.0}), ("fragment-lime", {"ridge": 0.0, "samples": 15}), ("fragment-shap", {}),
    ("leave-one-out", {})])
def test_what_fragments_add_is_found_where_they_add_up(name: str, given: dict[str, Any]) -> None:
    batch = made()
    got = weights(name, Scorer(Additive()), batch, fill="zero", explanandum="mean-score", **given)
    torch.testing.assert_close(got.double(), contributions(batch), rtol=1e-5, atol=1e-6)


def rescoring(batch: Batch, i: int, fill: str) -> Callable[[Collection[int]], list[float]]:
    """Scores of a video as long as it is without fragments, by plain loops; of steps that are left out they are NaN."""
    def rescored(removed: Collection[int]) -> list[float]:
        gone = [int(k) in removed for k in OF]
        x = batch.inputs[i].clone()
        with torch.no_grad():
            if fill == "remove" and not all(gone):
                left = [t for t in range(N) if not gone[t]]
                scores = dict(zip(left, small()(x[None, :, left])[0].tolist(), strict=True))
                return [scores.get(t, math.nan) for t in range(N)]
            for t in range(N):
                before = [s for s in range(t) if not gone[s]]
                after = [s for s in range(t, N) if not gone[s]]
                source = before[-1] if before else after[0] if after else None
                if gone[t] and fill == "hold" and source is not None:
                    x[:, t] = batch.inputs[i][:, source]
                elif gone[t]:
                    x[:, t] = batch.inputs[i].mean(1) if fill == "mean-step" else 0.0
            found: list[float] = small()(x[None])[0].tolist()
            return found
    return rescored


def said(batch: Batch, i: int, fill: str, explanandum: str, removed: Collection[int]) -> float:
    """tau_b with the whole video's scores, or the mean, of the steps that are there."""
    rescored = rescoring(batch, i, fill)
    there = None if fill != "remove" or set(removed) == set(range(S)) else OF.tolist()
    if explanandum == "mean-score":
        return float(np.mean(oracle.kept_of(rescored(removed), there, removed)))
    try:
        return 0.0 if len(removed) == S else oracle.tau_without(rescored([]), rescored, removed, there)
    except UndefinedError:
        return 0.0


SAID = [(fill, explanandum) for fill in FILLS for explanandum in ("rank-order", "mean-score")]


@pytest.mark.parametrize(("fill", "explanandum"), SAID)
def test_leave_one_out_by_plain_loops(fill: str, explanandum: str) -> None:
    batch = made()
    got = weights("leave-one-out", small(), batch, fill=fill, explanandum=explanandum)
    for i in range(3):
        whole = said(batch, i, fill, explanandum, [])
        expected = [whole - said(batch, i, fill, explanandum, [k]) for k in range(S)]
        assert got[i].tolist() == pytest.approx(expected, abs=1e-6)
    if explanandum == "rank-order":
        assert (got >= 0).all()


@pytest.mark.parametrize(("fill", "explanandum"), SAID)
def test_shapley_values_by_all_orders(fill: str, explanandum: str) -> None:
    batch = made(2)
    got = weights("fragment-shap", small(), batch, fill=fill, explanandum=explanandum)
    for i in range(2):
        sets = {kept: said(batch, i, fill, explanandum, set(range(S)) - set(kept))
                for size in range(S + 1) for kept in itertools.combinations(range(S), size)}
        expected = np.zeros(S)
        orders = list(itertools.permutations(range(S)))
        for order in orders:
            for place, k in enumerate(order):
                before = tuple(sorted(order[:place]))
                expected[k] += (sets[tuple(sorted((*before, k)))] - sets[before]) / len(orders)
        assert got[i].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
        assert float(got[i].sum()) == pytest.approx(sets[tuple(range(S))] - sets[()], abs=1e-6)


def test_sampled_shapley_values_sum_to_what_all_fragments_add() -> None:
    batch = made(1)
    got = weights("fragment-shap", small(), batch, samples=11, explanandum="mean-score")
    ends = [said(batch, 0, "zero", "mean-score", removed) for removed in ((), range(S))]
    assert float(got.sum()) == pytest.approx(ends[0] - ends[1], abs=1e-6)


@pytest.mark.parametrize(("fill", "explanandum"), SAID)
def test_lime_by_all_coalitions(fill: str, explanandum: str) -> None:
    """Ridge regression written down once more: the intercept is a column that is not penalised."""
    batch = made(2)
    got = weights("fragment-lime", small(), batch, fill=fill, explanandum=explanandum, ridge=0.7, kernel_width=0.4)
    for i in range(2):
        rows, answers, weight = [], [], []
        for kept in itertools.product((0.0, 1.0), repeat=S):
            cosine = sum(kept) / math.sqrt(S * sum(kept)) if any(kept) else 0.0
            rows.append([*kept, 1.0])
            answers.append(said(batch, i, fill, explanandum, [k for k in range(S) if not kept[k]]))
            weight.append(math.sqrt(math.exp(-((1 - cosine) ** 2) / 0.4**2)))
        z, y, w = np.array(rows), np.array(answers), np.diag(weight)
        expected = np.linalg.solve(z.T @ w @ z + 0.7 * np.diag([1.0] * S + [0.0]), z.T @ w @ y)[:S]
        assert got[i].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_coalitions_are_drawn_where_there_are_more_than_samples() -> None:
    """Of an additive model without a ridge the answer is right for any coalitions that tell the fragments apart."""
    of = torch.arange(12)
    batch = made(2, of=of)
    kept = uniforms(key(0, "video-1", "fragment-lime@1", "kept"), 0, 60 * 12)[0].view(60, 12) < 0.5
    kept[0] = True
    seen: list[Tensor] = []
    model = Scorer(Additive())
    handle = model.register_forward_hook(lambda _m, given, _o: seen.append(given[0][:, 0] != 0))
    got = weights("fragment-lime", model, batch, samples=60, ridge=0.0, explanandum="mean-score")
    handle.remove()
    torch.testing.assert_close(got, batch.inputs[:, 0] / 12, rtol=1e-4, atol=1e-6)
    assert torch.equal(torch.cat(seen)[-59:], kept[1:])
    torch.testing.assert_close(weights("fragment-shap", model, batch, samples=200, explanandum="mean-score"), got, rtol=1e-4,
                               atol=1e-6)


@pytest.mark.parametrize("fill", ["zero", "hold"])
def test_occlusion_is_of_one_frame(fill: str) -> None:
    batch = made()
    best = [int(np.argmax(rescoring(batch, i, fill)([]))) for i in range(3)]
    for frame in (-1, 7):
        got = weights("fragment-occlusion", small(), batch, fill=fill, frame=frame)
        for i in range(3):
            t = best[i] if frame == -1 else frame
            rescored = rescoring(batch, i, fill)
            expected = [rescored([])[t] - rescored([k])[t] for k in range(S)]
            assert got[i].tolist() == pytest.approx(expected, abs=1e-6)


def test_scores_without_an_order_have_no_relevance() -> None:
    still = Scorer(nn.Sequential(nn.Linear(D, 1), nn.Threshold(torch.inf, 0.5)))
    for name in ASKING:
        assert not weights(name, still, made()).any()


def test_a_single_fragment_that_is_removed_leaves_zeros() -> None:
    batch = made(of=torch.zeros(5, dtype=torch.long))
    shorter, filled = (weights("leave-one-out", Scorer(Additive()), batch, fill=fill, explanandum="mean-score")
                       for fill in ("remove", "zero"))
    assert torch.equal(shorter, filled)


# ---------------------------------------------------------------------------------------------------------------- attention


def attending(n: int = N) -> Attending:
    generator = torch.Generator().manual_seed(2)
    return Attending(torch.rand(n, n, generator=generator).softmax(1), torch.randn(n, generator=generator))


@pytest.mark.parametrize("layout", ["btd", "bdt", "td"])
def test_attention_by_plain_loops(layout: Layout) -> None:
    module, batch = attending(), made(2)
    of = OF.tolist()
    for read, scaled in itertools.product(("column", "diagonal"), (False, True)):
        frames = []
        for j in range(N):
            # the sum of the scores is the sum of attention[i, j]*worth[j]: its derivative by attention[i, j] is worth[j]
            factor = float(module.worth[j]) if scaled else 1.0
            column = [float(module.given[i, j]) * factor for i in range(N)]
            frames.append(sum(column) / N if read == "column" else column[j])
        expected = [np.mean([frame for frame, k in zip(frames, of, strict=True) if k == number]) for number in range(S)]
        got = weights("gradient-x-attention" if scaled else "frame-attention", Scorer(module, layout), batch, read=read)
        for i in range(2):
            assert got[i].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_summariser_s_scores_are_those_of_its_own_attention() -> None:
    batch = made()
    attention = small().attention(batch.inputs)
    torch.testing.assert_close(small().attended(batch.inputs, attention), small()(batch.inputs))
    other = torch.full_like(attention, 1 / N)
    assert (small().attended(batch.inputs, other) - small()(batch.inputs)).abs().max() > 1e-3


def test_the_gradient_of_the_summariser_by_differences() -> None:
    batch = made(1)
    attention = small().attention(batch.inputs)
    moved = torch.zeros(N, N, dtype=torch.float64)
    precise = Scorer(Summariser(D, 5, N)).double()
    precise.load_state_dict(small().state_dict())
    with torch.no_grad():
        for i, j in itertools.product(range(N), range(N)):
            step = torch.zeros(1, N, N, dtype=torch.float64)
            step[0, i, j] = 1e-6
            up, down = (precise.attended(batch.inputs.double(), attention.double() + s).sum() for s in (step, -step))
            moved[i, j] = float(attention[0, i, j]) * (up - down) / 2e-6
    expected = [float(moved.mean(0)[OF.eq(k)].mean()) for k in range(S)]
    assert weights("gradient-x-attention", small(), batch)[0].tolist() == pytest.approx(expected, rel=1e-3, abs=1e-6)


# --------------------------------------------------------------------------------------------------------------- references


def test_references_of_fragments_by_their_definitions() -> None:
    batch = made()
    drawn, bell = (weights(name, small(), batch) for name in ("random", "centre-gaussian"))
    for i in range(3):
        assert torch.equal(drawn[i], uniforms(key(0, f"video-{i}", "random@1", "map"), 0, S)[0])
        for k in range(S):
            middle = np.mean([t for t in range(N) if OF[t] == k])
            assert float(bell[i, k]) == pytest.approx(math.exp(-(((middle - (N - 1) / 2) / (0.25 * N)) ** 2) / 2), abs=1e-6)


class Brightness(nn.Module):
    """The score of a frame of a clip [B, C, T, H, W] is its brightness beside that of the clip."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 3, 4)) / x.mean((1, 2, 3, 4))[:, None]


def clips(n: int = 2) -> Batch:
    inputs = torch.rand(n, 3, 6, 4, 5, generator=torch.Generator().manual_seed(3))
    of = torch.tensor([0, 0, 1, 1, 1, 2]).expand(n, 6)
    return Batch(tuple("ab"[:n]), inputs, torch.full((n,), -1), parts={"fragment": of})


def test_frames_of_clips_are_explained_by_fragment_where_they_are_scored() -> None:
    model, batch = Scorer(Brightness(), "bcthw"), clips()
    assert weights("random", model, batch).shape == (2, 3)
    assert weights("centre-gaussian", model, batch).shape == (2, 3)
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(360, 2))
    assert weights("random", classifier, batch).shape == (2, 6, 4, 5)
    for fill in ("hold", "remove", "black"):
        got = weights("leave-one-out", model, batch, fill=fill, explanandum="mean-score")
        x = batch.inputs[0]
        left = {"hold": x[:, [0, 1, 1, 1, 1, 5]], "remove": x[:, [0, 1, 5]], "black": x * torch.tensor(
            [1, 1, 0, 0, 0, 1])[:, None, None]}[fill]
        expected = model(x[None]).mean() - model(left[None]).mean()
        assert float(got[0, 1]) == pytest.approx(float(expected), abs=1e-6)


# ------------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(("name", "given", "words"), [
    ("leave-one-out", {"explanandum": "frame-score"}, "is 'frame-score', expected one of 'rank-order', 'mean-score'"),
    ("leave-one-out", {"fill": "black"}, "no fill of sequences is called 'black'"),
    ("fragment-lime", {"explanandum": "order"}, "explanandum is 'order'"),
    ("fragment-lime", {"samples": 0}, "samples is 0, expected at least 1"),
    ("fragment-lime", {"kernel_width": 0.0}, "kernel_width is 0.0, expected at least"),
    ("fragment-lime", {"ridge": -1.0}, "ridge is -1.0, expected at least 0"),
    ("fragment-shap", {"samples": 1}, "samples is 1, expected at least 2"),
    ("fragment-shap", {"fill": "holds"}, "did you mean 'hold'"),
    ("fragment-occlusion", {"fill": "remove"}, "fill is 'remove', under which the frame is gone with its fragment"),
    ("fragment-occlusion", {"frame": N}, "frame is 12, expected 0 to 11"),
    ("frame-attention", {"read": "row"}, "read is 'row', expected one of 'column', 'diagonal'"),
    ("gradient-x-attention", {"read": "rows"}, "read is 'rows'"),
])
def test_bad_parameters_are_named(name: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(VxpError, match=words):
        weights(name, small(), made(), **given)


@everyone
def test_a_video_without_fragments_is_refused(name: str) -> None:
    with pytest.raises(VxpError, match="the items are not divided into fragments"):
        weights(name, small(), replace(made(), parts={}))


def test_models_without_attention_are_refused() -> None:
    for name in ("frame-attention", "gradient-x-attention"):
        with pytest.raises(VxpError, match="the model Additive has no method `attention`"):
            weights(name, Scorer(Additive()), made())
    plain = attending()
    plain.attended = None  # type: ignore[assignment,method-assign]
    with pytest.raises(VxpError, match="the model Attending has no method `attended`"):
        weights("gradient-x-attention", Scorer(plain), made())


@pytest.mark.parametrize(("attention", "words"), [
    (torch.eye(N) * 2, "rows of the model's `attention` sum to 2 up to 2, expected 1"),
    (attending().given.T, "rows of the model's `attention` sum to"),
    (torch.eye(N - 1), r"`attention` returned \(3, 11, 11\) for 3 inputs of 12 steps, expected a tensor \[3, 12, 12\]"),
])
def test_attention_of_another_form_is_refused(attention: Tensor, words: str) -> None:
    with pytest.raises(VxpError, match=words):
        weights("frame-attention", Scorer(Attending(attention, torch.ones(N))), made())


def test_an_explainer_refuses_a_model_of_another_output() -> None:
    classifier = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(D, 3))
    for name in [*METHODS, "leave-one-out"]:
        with pytest.raises(VxpError, match=f"'{name}' explains models whose output is sequence, and the output of this model "
                           "is classes"):
            weights(name, classifier, made())
    images = Batch(("a",), torch.rand(1, 3, 8, 8), torch.zeros(1, dtype=torch.long))
    with pytest.raises(VxpError, match="'grad-cam' explains models whose output is classes, and the output of this model is "
                       "sequence"):
        weights("grad-cam", small(), images)
    with pytest.raises(VxpError, match="'leave-one-out' makes temporal, and images need heatmap2d"):
        bind("leave-one-out").on(*tasks.load("shapes").kinds)


def test_a_run_refuses_it_before_anything_is_explained() -> None:
    task, model = tasks.load("shapes"), models.load("shapes-cnn")
    assert [bound.id for bound in run.ready(task, model, [bind("grad-cam")])] == ["grad-cam"]
    scorer = replace(model, module=Scorer(Additive()))
    with pytest.raises(VxpError, match="'grad-cam' explains models whose output is classes"):
        run.ready(task, scorer, [bind("random"), bind("grad-cam")])
    assert [bound.id for bound in run.ready(task, scorer, [bind("random")])] == ["random"]


# ----------------------------------------------------------------------------------------------------------- a trained model


def discoverability(model: nn.Module, batch: Batch, name: str, **given: Any) -> tuple[float, float]:
    """Disc+ and Disc- of 2022 of the weights, fragments removed one by one."""
    of = batch.parts["fragment"]

    def rescored(removed: Tensor) -> Tensor:
        found = torch.zeros(*removed.shape[:2], of.shape[1])
        for row, gone in enumerate(removed[0]):
            left = (~gone[of[0]]).nonzero().flatten()
            with torch.no_grad():
                found[0, row, left] = model(batch.inputs[:, :, left])[0]
        return found

    with torch.no_grad():
        scores = model(batch.inputs)
    videos = _fragments.Fragments(weights(name, model, batch, **given).double(), scores, rescored, of)
    ends: Sequence[_fragments.End] = ("most", "least")
    plus, minus = (float(_fragments.disc_2022(videos, end)[0]) for end in ends)
    return plus, minus


@pytest.mark.skipif(bool(montage.MONTAGE.missing()), reason="needs the photos of vxp[demo]")
def test_what_the_montage_summariser_says_is_told_apart_by_its_order() -> None:
    """The mean of the scores is another question: what answers it ranks the fragments the other way about."""
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs vxp[demo]")
    items = train_montage.items("held-out")[:4]
    model = Scorer(loading.montage_summariser()).eval()
    batches = [Batch((item.id,), x.T[None].contiguous(), torch.tensor([-1]), Normalization((0.0,), (1.0,)),
                     parts={"fragment": of[None]}) for item, (x, of) in zip(items, train_montage.seen(items), strict=True)]
    found = {str(given): np.array([discoverability(model, batch, name, **given) for batch in batches]).mean(0)
             for name, given in (("leave-one-out", {"fill": "remove"}), ("fragment-lime", {"explanandum": "rank-order"}),
                                 ("fragment-lime", {"explanandum": "mean-score"}))}
    ceiling, order, mean = found.values()
    assert ceiling[0] >= order[0] > order[1] + 0.03
    assert ceiling[1] <= order[1]
    assert mean[0] < mean[1] - 0.03
