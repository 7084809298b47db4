"""Scores of the fragments of a video, and summaries, beside their slow oracles."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from oracles import UndefinedError
from oracles import fragments as oracle
from scipy.stats import kendalltau
from torch import Tensor
from vxp.core import VxpError
from vxp.metrics import _fragments, _summary
from vxp.metrics._fragments import Fragments

Found = tuple[Tensor, dict[str, Tensor]]
B, S, N = 6, 8, 24
"""Videos, fragments and frames."""


def levels(*shape: int, seed: int, of: int = 9) -> Tensor:
    """Few values, so that there are ties."""
    return torch.randint(of, shape, generator=torch.Generator().manual_seed(seed)).double() / of


OF = torch.stack([levels(N, seed=50 + i, of=S).mul(S).long().sort().values for i in range(B)])
"""Ragged fragments; some videos lack one, whose removal then changes nothing of its own."""


class Toy:
    """A summariser whose scores depend on which fragments are there: by a table, and with ties."""

    def __init__(self, seed: int = 0) -> None:
        self.effect = levels(B, S, N, seed=seed + 1)
        self.scores = self.rescored(torch.zeros(B, 1, S, dtype=torch.bool))[:, 0]
        self.weights = levels(B, S, seed=seed + 2, of=7) - 0.5

    def rescored(self, removed: Tensor) -> Tensor:
        present = (~removed).double()
        return ((present @ self.effect) * 4).round() / 4

    def one(self, i: int) -> Callable[[Collection[int]], Sequence[float]]:
        def rescored(removed: Collection[int]) -> Sequence[float]:
            rows = torch.zeros(B, 1, S, dtype=torch.bool)
            rows[i, 0, list(removed)] = True
            found: Sequence[float] = self.rescored(rows)[i, 0].tolist()
            return found
        return rescored

    def videos(self, of: Tensor | None = None) -> Fragments:
        return Fragments(self.weights, self.scores, self.rescored, of)


def same(found: Found, expected: Callable[[int], float]) -> None:
    """Every value is the oracle's, and where that has none the code is its."""
    values, undefined = found
    assert values.dtype == torch.float64
    for i in range(len(values)):
        codes = [code for code, where in undefined.items() if where[i]]
        if codes:
            with pytest.raises(UndefinedError, match=codes[0]):
                expected(i)
        else:
            assert float(values[i]) == pytest.approx(expected(i), abs=1e-12), i


# --------------------------------------------------------------------------------------------------------------------- tau


def test_tau_b_is_that_of_scipy_and_of_the_pairs() -> None:
    a, b = levels(40, 11, seed=3, of=4), levels(40, 11, seed=4, of=5)
    a[0] = 1.0
    values, undefined = _fragments.tau_b(a, b)
    assert undefined["constant-scores"].tolist() == [True, *[False] * 39]
    for i in range(1, 40):
        assert float(values[i]) == pytest.approx(kendalltau(a[i], b[i]).statistic, abs=1e-12)
        assert float(values[i]) == pytest.approx(oracle.tau_b(a[i].tolist(), b[i].tolist()), abs=1e-12)


def test_tau_b_by_hand() -> None:
    """Of three pairs one is tied in b: two concordant by the root of 3*2."""
    values, _ = _fragments.tau_b(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 1.0, 2.0]]))
    assert float(values) == pytest.approx(2 / 6**0.5)


def test_scores_that_differ_by_rounding_are_ties() -> None:
    """1e-6 of what is above 1 in size; else of 1."""
    a = torch.tensor([[0.5, 0.5 + 9e-7, 0.6, 0.7], [1e3, 1e3 + 9e-4, 2e3, 3e3], [0.5, 0.5 + 2e-6, 0.6, 0.7]]).double()
    b = torch.tensor([0.0, 1.0, 2.0, 3.0]).double().expand(3, 4)
    values, _ = _fragments.tau_b(a, b)
    assert values.tolist() == pytest.approx([5 / 30**0.5, 5 / 30**0.5, 1])
    for i in range(3):
        assert float(values[i]) == pytest.approx(oracle.tau_b(a[i].tolist(), b[i].tolist()), abs=1e-12)


def test_a_score_that_is_no_number_stays_none() -> None:
    a, b = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, torch.nan, 2.0]])
    values, undefined = _fragments.tau_b(a, b)
    assert values.isnan().all()
    assert not undefined["constant-scores"].any()


# --------------------------------------------------------------------------------------------------------------- fragments

FORMS: dict[str, tuple[Callable[..., Found], Callable[..., float], list[dict[str, Any]]]] = {
    "disc-2022": (_fragments.disc_2022, oracle.disc_2022,
                  [{"end": end, "mode": mode} for end in ("most", "least") for mode in ("single", "batch")]),
    "sv-2022": (_fragments.sv_2022, oracle.sv_2022, [{"mode": mode} for mode in ("single", "batch")]),
    "disc-2024": (_fragments.disc_2024, oracle.disc_2024,
                  [{"end": end, "rank": rank, "mode": mode} for end in ("most", "least") for rank in (1, 2, 3)
                   for mode in ("one-by-one", "sequential")]),
    "sv-2024": (_fragments.sv_2024, oracle.sv_2024, [{"mode": mode} for mode in ("one-by-one", "sequential")]),
    "fragment-deletion": (_fragments.fragment_deletion, oracle.fragment_deletion, [{}]),
}


@pytest.mark.parametrize("of", [None, OF], ids=["replaced", "sliced-out"])
@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_is_its_oracle(form: str, of: Tensor | None) -> None:
    ours, theirs, variants = FORMS[form]
    toy = Toy()
    for parameters in variants:
        found = ours(toy.videos(of), **parameters)
        same(found, lambda i, p=parameters: theirs(toy.weights[i].tolist(), toy.scores[i].tolist(), toy.one(i),
                                                   None if of is None else of[i].tolist(), **p))


@pytest.mark.parametrize("explanandum", ["mean-score", "rank-order"])
@pytest.mark.parametrize("of", [None, OF], ids=["replaced", "sliced-out"])
def test_changes_are_those_of_every_fragment_alone(explanandum: Any, of: Tensor | None) -> None:
    toy = Toy(9)
    values, _ = _fragments.changes(toy.videos(of), explanandum)
    for i, s in itertools.product(range(B), range(S)):
        expected = oracle.change(toy.scores[i].tolist(), toy.one(i), s, None if of is None else of[i].tolist(),
                                 explanandum=explanandum)
        assert float(values[i, s]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("sign", ["signed", "absolute"])
def test_rank_correlation_is_its_oracle(sign: Any) -> None:
    weights, changes = levels(B, S, seed=5) - 0.5, levels(B, S, seed=6) - 0.5
    weights[0] = 0.25
    found = _fragments.rank_correlation(weights, changes, sign=sign)
    same(found, lambda i: oracle.rank_correlation(weights[i].tolist(), changes[i].tolist(), sign=sign))


def test_an_explanation_turned_round_is_perfect_without_its_sign() -> None:
    """Weights that say the opposite of what every fragment does to the mean score."""
    toy = Toy(20)
    change, _ = _fragments.changes(toy.videos(), "mean-score")
    for weights, signed in ((change, 1.0), (-change, -1.0)):
        assert _fragments.rank_correlation(weights, change, sign="signed")[0].tolist() == pytest.approx([signed] * B)
        assert _fragments.rank_correlation(weights, change, sign="absolute")[0].tolist() == pytest.approx([1.0] * B)


def test_the_two_forms_turn_each_other_round() -> None:
    """Leave-one-out of the order ranks first what changes it most: best in either form, its opposite worst."""
    toy = Toy(30)
    truth, _ = _fragments.changes(toy.videos(), "rank-order")
    truth = truth + torch.arange(S) * 1e-6  # no ties
    for weights, best in ((truth, True), (-truth, False)):
        videos = Fragments(weights, toy.scores, toy.rescored)
        (plus, _), (minus, _) = (_fragments.disc_2022(videos, end) for end in ("most", "least"))
        assert ((plus > minus) == best).all()
        assert (_fragments.sv_2022(videos)[0] == (0.0 if best else 1.0)).all()
        (later, _), (least, _) = (_fragments.disc_2024(videos, end) for end in ("most", "least"))
        assert ((later < least) == best).all()
        assert (_fragments.sv_2024(videos)[0] == (0.0 if best else 1.0)).all()


def test_a_tie_violates_in_2022_and_not_in_2024() -> None:
    """The only frame that moves is not the one of any fragment, so all removals do the same."""
    scores = torch.arange(6.0)[None]
    videos = Fragments(torch.arange(6.0)[None], scores, lambda removed: scores.flip(1).expand(1, removed.shape[1], 6))
    assert _fragments.sv_2022(videos)[0].tolist() == [1.0]
    assert _fragments.sv_2024(videos)[0].tolist() == [0.0]


def test_few_fragments_and_constant_scores_have_no_score() -> None:
    scores = torch.arange(6.0)[None]
    for n, few in ((1, True), (3, True), (4, False)):
        videos = Fragments(torch.arange(float(n))[None], scores, lambda removed: scores.expand(1, removed.shape[1], 6))
        assert _fragments.disc_2024(videos, "most")[1]["too-few-fragments"].tolist() == [few]
        assert _fragments.disc_2022(videos, "most")[1]["too-few-fragments"].tolist() == [True]
        assert _fragments.fragment_deletion(videos)[1]["too-few-fragments"].tolist() == [n == 1]
    still = Fragments(torch.arange(6.0)[None], scores, lambda removed: torch.ones(1, removed.shape[1], 6))
    for _, codes in (_fragments.disc_2022(still, "most"), _fragments.sv_2024(still), _fragments.fragment_deletion(still)):
        assert codes["constant-scores"].tolist() == [True]


def test_scores_of_another_length_and_ranks_that_are_none_are_refused() -> None:
    videos = Fragments(torch.arange(6.0)[None], torch.arange(6.0)[None], lambda removed: torch.zeros(1, 1, 5))
    with pytest.raises(VxpError, match=r"\(1, 1, 5\).*\(1, 1, 6\)"):
        _fragments.disc_2024(videos, "most")
    with pytest.raises(VxpError, match="rank 4, expected 1 to 3"):
        _fragments.disc_2024(videos, "most", rank=4)


# ----------------------------------------------------------------------------------------------------------------- summary


def some_video(seed: int) -> tuple[np.ndarray, list[tuple[int, int]], np.ndarray]:
    """Scores on a grid of 1/64, so that sums are exact, a list of shots that may end early, and summaries of people."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.choice(np.arange(1, 60), 8, replace=False))
    edges = [0, *cuts.tolist(), 60]
    shots = [(int(a), int(b)) for a, b in itertools.pairwise(edges)][: 9 - seed % 2]
    scores = np.concatenate([np.full(b - a, rng.integers(0, 64) / 64) for a, b in itertools.pairwise(edges)])
    return scores, shots, rng.random((4, 60)) < 0.2


@pytest.mark.parametrize("dialect", list(_summary.DIALECTS))
@pytest.mark.parametrize("users", list(_summary.USERS))
def test_summaries_are_the_best_of_all_sets_of_shots(dialect: str, users: str) -> None:
    for seed in range(12):
        scores, shots, people = some_video(seed)
        made = _summary.summary(scores, shots, dialect)
        assert set(np.flatnonzero(made)) == oracle.summary(scores.tolist(), shots, dialect=dialect)
        found = _summary.summary_f1(scores, shots, people, dialect=dialect, users=users)
        wanted = [set(np.flatnonzero(row).tolist()) for row in people]
        try:
            expected = oracle.summary_f1(scores.tolist(), shots, wanted, dialect=dialect, users=users)
        except UndefinedError:
            assert found is None
        else:
            assert found == pytest.approx(expected, abs=1e-12)


def test_dialects_differ_where_they_are_said_to() -> None:
    """100 frames: the knapsack holds 15, or 13 where the list of shots ends at 90; thousandths cannot tell .5004 from .5000."""
    shots = [(0, 13), (13, 28), (28, 90)]
    scores = np.concatenate([np.full(13, 0.4), np.full(15, 0.9), np.full(72, 1.0)])
    chosen = {name: set(np.flatnonzero(_summary.summary(scores, shots, name)).tolist()) for name in _summary.DIALECTS}
    assert chosen["dr-dsn"] == chosen["dsnet"] == set(range(13, 28))
    assert chosen["ca-sum"] == set(range(13))
    close = np.concatenate([np.full(10, 0.5), np.full(10, 0.5004), np.full(80, 0.1)])
    shots = [(0, 10), (10, 20), (20, 100)]
    assert _summary.summary(close, shots, "dr-dsn")[10:20].all()
    assert _summary.summary(close, shots, "dsnet")[:10].all()


def test_an_empty_summary_is_zero_or_undefined_by_the_dialect() -> None:
    scores, people = np.ones(100), np.ones((2, 100), bool)
    found = {name: _summary.summary_f1(scores, [(0, 50), (50, 100)], people, dialect=name) for name in _summary.DIALECTS}
    assert found == {"dr-dsn": 0.0, "dsnet": 0.0, "ca-sum": None}


def test_users_count_by_their_mean_or_by_the_nearest() -> None:
    scores = np.concatenate([np.ones(15), np.zeros(85)])
    people = np.zeros((2, 100), bool)
    people[0, :15] = people[1, 10:25] = True
    shots = [(0, 15), (15, 100)]
    assert _summary.summary_f1(scores, shots, people, users="max") == 1
    assert _summary.summary_f1(scores, shots, people, users="avg") == pytest.approx((1 + 1 / 3) / 2)


def test_one_shot_that_fills_the_knapsack_makes_any_scores_perfect() -> None:
    people = np.zeros((1, 100), bool)
    people[0, :15] = True
    for seed in range(5):
        scores = np.random.default_rng(seed).random(100)
        assert _summary.summary_f1(scores, [(0, 15), (15, 100)], people) == 1


def test_scores_of_picked_frames_hold_until_the_next() -> None:
    assert _summary.spread(np.array([1.0, 2.0, 3.0]), [1, 3, 4], 6).tolist() == [0, 1, 1, 2, 3, 3]


@pytest.mark.parametrize(("change", "said"), [
    ({"shots": [(0, 60), (50, 100)]}, "no ranges"), ({"shots": [(0, 101)]}, "within 100 frames"), ({"shots": []}, "no ranges"),
    ({"dialect": "tvsum"}, "expected one of dr-dsn"), ({"users": "mean"}, "expected one of avg, max"),
    ({"people": np.ones((2, 99), bool)}, r"expected \[U, 100\]"),
])
def test_what_makes_no_summary_is_refused(change: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"scores": np.ones(100), "shots": [(0, 10), (10, 100)], "people": np.ones((2, 100), bool)} | change
    with pytest.raises(VxpError, match=said):
        _summary.summary_f1(**given)
