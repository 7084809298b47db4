"""Comparisons that may be looked at while items come in: the clause in plain loops, and what looking does not break."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from oracles import philox
from vxp import division, stats
from vxp.bench import sequential as simulated
from vxp.core import VxpError
from vxp.stats import sequential
from vxp.stats.sequential import Comparison, Differences, Until

RNG = np.random.Generator(np.random.PCG64(5))


def capital(x: Sequence[float], m: float) -> float:
    """Waudby-Smith and Ramdas (2024), eq. (26) in the form with a price: a number x in [0, 1] whose mean is said to be m is
    bought for a share of the money; here for 16 shares side by side."""
    total = 0.0
    for k in range(16):
        share, money = math.sin(math.pi * (2 * k + 1) / 64) ** 2, 1.0
        for number in x:
            money *= (1 - share) + share * number / m
        total += money / 16
    return total


def test_capital_is_that_of_bets_on_numbers_in_0_to_1() -> None:
    apart = RNG.uniform(-1, 1, size=30)
    found = Differences(apart, np.ones(30), 1.0, 1)
    for mean in (-0.9, -0.2, 0.0, 0.4, 0.95):
        for after in (1, 7, 30):
            x, m = list((apart[:after] + 1) / 2), (mean + 1) / 2
            up, down = found.above(mean)[:after], found.below(mean)[:after]
            assert np.exp(sequential.capital(up)[-1]) == pytest.approx(capital(x, m), rel=1e-10)
            assert np.exp(sequential.last_capital(up)) == pytest.approx(capital(x, m), rel=1e-10)
            assert np.exp(sequential.last_capital(down)) == pytest.approx(capital([1 - v for v in x], 1 - m), rel=1e-10)


def test_one_round_by_hand() -> None:
    """The shares have the mean 1/2: a difference of d of at most 2 makes 1 + d/4 of 1."""
    found = Differences(np.array([0.5]), np.array([1.0]), 2.0, 1)
    assert np.exp(sequential.capital(found.above()))[0] == pytest.approx(1.125)
    assert np.exp(sequential.capital(found.below()))[0] == pytest.approx(0.875)
    # twice as many items in the largest cluster, half of the bet
    assert np.exp(sequential.capital(Differences(np.array([0.5]), np.array([1.0]), 2.0, 2).above()))[0] == pytest.approx(1.0625)


def test_clusters_of_one_and_many_items_are_summed_and_gaps_left_out() -> None:
    a = np.array([0.5, 0.7, np.nan, 1.0, 0.2])
    b = np.array([0.4, 0.5, 0.1, 0.4, np.nan])
    found = sequential.differences(a, b, ["z", "z", "z", "b", "c"], (0, 1), 3)
    assert found.sums.tolist() == pytest.approx([0.3, 0.6, 0.0])
    assert found.counts.tolist() == [2, 1, 0]
    assert found.mean(3) == pytest.approx(0.3)
    assert found.above().tolist() == pytest.approx([0.1, 0.2, 0.0])


def test_p_is_the_best_of_the_looks_and_never_rises() -> None:
    apart = np.concatenate([np.full(20, 0.4), np.full(60, -0.2)])
    found = Differences(apart, np.ones(80), 1.0, 1)
    p = found.p([20, 30, 80])
    x = list((apart + 1) / 2)
    first = 2 / capital(x[:20], 0.5)
    assert first < 2 / max(capital(x[:30], 0.5), capital([1 - v for v in x[:30]], 0.5))
    assert p.tolist() == pytest.approx([first] * 3)
    assert Differences(np.zeros(40), np.ones(40), 1.0, 1).p([20, 40]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("apart", [RNG.uniform(-1, 1, 60), RNG.beta(0.2, 1.8, 60), np.full(60, -1.0), np.zeros(60),
                                   np.r_[np.zeros(59), 1.0]])
def test_an_interval_holds_the_means_that_no_bet_refutes(apart: np.ndarray) -> None:
    lo, hi = Differences(apart, np.ones(60), 1.0, 1).interval(60, 0.95)
    x = (apart + 1) / 2

    def refuted(mean: float) -> bool:
        m = (mean + 1) / 2
        return capital(list(x), m) >= 40 or capital(list(1 - x), 1 - m) >= 40

    assert -1 <= lo <= apart.mean() <= hi <= 1
    for end, out in ((lo, -1e-6), (hi, 1e-6)):
        assert abs(end) == 1 or (refuted(end + out) and not refuted(end - out))


def test_an_interval_uses_the_first_clusters_only_and_is_the_range_without_any() -> None:
    apart = RNG.uniform(-0.3, 0.5, 100)
    whole = Differences(apart, np.ones(100), 1.0, 1)
    assert whole.interval(40, 0.95) == Differences(apart[:40], np.ones(40), 1.0, 1).interval(40, 0.95)
    assert Differences(np.zeros(3), np.zeros(3), 0.5, 1).interval(3, 0.95) == (-0.5, 0.5)


def test_looks() -> None:
    assert sequential.looks(200, 20) == [20, 30, 45, 68, 102, 153, 200]
    assert sequential.looks(20, 20) == [20]
    with pytest.raises(VxpError, match="6 clusters, and nothing is decided on fewer than 20"):
        sequential.looks(6, 20)


def test_the_order_is_drawn_by_clusters_and_keeps_their_items() -> None:
    clusters = [f"photo-{i // 2}" for i in range(12)]
    found = division.drawn(clusters, 0)
    lots = philox.words(philox.key(0, "", "sequential@1", "clusters"), 0, 6)[0].tolist()
    assert [clusters[i] for i in found[::2]] == [f"photo-{j}" for j in sorted(range(6), key=lots.__getitem__)]
    assert all(found[k] + 1 == found[k + 1] for k in range(0, 12, 2))
    assert division.drawn(clusters, 1) != found


def test_questions() -> None:
    assert sequential.until("separated") == Until()
    assert sequential.until("separated:deletion@1|steps:28|fill:mean") == Until(None, "deletion@1|steps:28|fill:mean")
    assert sequential.until("width:0.02:insertion") == Until(0.02, "insertion")
    for text in ("separated", "width:0.02", "separated:srg", "width:0.1:srg|steps:28"):
        assert str(sequential.until(text)) == text
    for wrong in ("apart", "width", "width:", "width:0", "width:-1", "width:nan", "width:inf", "width:wide", "separated:"):
        with pytest.raises(VxpError, match="expected separated, or width:W"):
            sequential.until(wrong)


SCORES: list[sequential.Facts] = [
    {"signature": "deletion@1|steps:28", "family": "faithfulness", "level": "sample", "better": "lower", "range": [0, 1]},
    {"signature": "deletion@1|steps:14", "family": "faithfulness", "level": "sample", "better": "lower", "range": [0, 1]},
    {"signature": "infidelity@1", "family": "faithfulness", "level": "sample", "better": "lower", "range": [0, None]},
    {"signature": "sufficiency@1", "family": "faithfulness", "level": "set", "better": "higher", "range": [0, 1]},
    {"signature": "gini@1", "family": "complexity", "level": "sample", "better": "higher", "range": [0, 1]},
]


@pytest.mark.parametrize(("question", "expected"), [
    (Until(), [0, 1]), (Until(score="deletion"), [0, 1]), (Until(score="deletion@1|steps:14"), [1]),
    (Until(score="gini"), [4])])
def test_watched_scores(question: Until, expected: list[int]) -> None:
    assert sequential.watched(SCORES, question, "faithfulness") == [SCORES[i] for i in expected]


@pytest.mark.parametrize(("question", "message"), [
    (Until(score="infidelity"), "without an end of their range.*name one of deletion, gini"),
    (Until(score="srg"), "srg, which has no score of this run"), (Until(), "the family sanity")])
def test_scores_that_cannot_be_watched(question: Until, message: str) -> None:
    with pytest.raises(VxpError, match=message):
        sequential.watched(SCORES, question, "sanity")


def test_scores_without_bounds_are_refused() -> None:
    with pytest.raises(VxpError, match="expected two ends"):
        sequential.differences(np.zeros(2), np.zeros(2), ["a", "b"], (0, None), 1)


def comparison(a: str, b: str, signature: str, apart: np.ndarray) -> Comparison:
    return Comparison(a, b, signature, Differences(apart, np.ones(len(apart)), 1.0, 1))


def test_a_pair_is_separated_once_one_score_separates_it() -> None:
    clear, none = np.full(100, -0.6), np.tile([0.1, -0.1], 50)
    asked = [comparison("a", "b", "deletion", clear), comparison("a", "b", "srg", none), comparison("a", "c", "deletion", none),
             comparison("a", "c", "srg", np.r_[np.tile([0.1, -0.1], 15), np.full(70, 0.9)])]
    found = sequential.decide(asked, [20, 30, 45, 68, 100], Until(), stats.STANDARD)
    assert found.undecided == (1, 1, 0, 0, 0)
    assert [f.decided for f in found.found] == [20, None, None, 45]
    assert found.found[0].delta == pytest.approx(-0.6)
    assert found.found[0].hi < 0
    assert [f.p_adjusted for f in found.found] == stats.holm([f.p for f in found.found])
    assert found.decided
    assert sequential.undecided(asked, [20, 30], Until(), stats.STANDARD) == [1, 1]


def test_nothing_is_separated_on_few_clusters_with_numbers() -> None:
    apart, counts = np.full(40, 0.9), np.r_[np.ones(19), np.zeros(21)]
    asked = [Comparison("a", "b", "srg", Differences(apart * counts, counts, 1.0, 1))]
    found = sequential.decide(asked, [20, 40], Until(), stats.STANDARD).found[0]
    assert found.p < 0.01
    assert (found.clusters, found.n, found.decided) == (19, 19, None)


def test_a_width_asks_every_interval() -> None:
    asked = [comparison("a", "b", "srg", RNG.normal(0.1, 0.01, 200)), comparison("a", "c", "srg", RNG.normal(0.1, 0.1, 200))]
    at = sequential.looks(200, 20)
    widths = [[c.differences.interval(after, 0.95) for after in at] for c in asked]
    narrow = [next(n for n, (lo, hi) in zip(at, ends, strict=True) if hi - lo <= 0.2) for ends in widths]
    found = sequential.decide(asked, at, Until(0.2), stats.STANDARD)
    assert [f.decided for f in found.found] == narrow
    assert at[found.undecided.index(0)] == max(narrow)
    assert not sequential.decide(asked, at, Until(1e-3), stats.STANDARD).decided


# ----------------------------------------------------------------------------------------------- what looking does not break


@pytest.mark.parametrize("null", simulated.NULLS, ids=lambda null: null.name)
def test_looks_decide_nothing_where_nothing_differs(null: simulated.Null) -> None:
    """At most 5 %, and three standard errors of 400 repetitions for the simulation."""
    assert simulated.false_decisions(null, 400, 1) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert abs(null.differences(np.random.default_rng(0), (400, 200)).sums.mean()) < 0.1


def test_families_and_lists_keep_their_level() -> None:
    assert simulated.false_decisions_of_a_list(400, 1) <= 0.08
    assert simulated.false_families(40, 1, scores=6, differ=1, binary=True) <= 0.15
    assert simulated.false_families(40, 1, scores=6) <= 0.15


def test_fair_flips_of_signs_would_not_keep_it() -> None:
    """Why the paired test of 7.4.1 is not what is looked at: 5 % of the items gain, the mean is 0, and it finds a difference in
    every third list or so."""
    null = simulated.NULLS[5]
    sums = null.differences(np.random.default_rng(3), (100, 60)).sums
    clusters = [f"c{i}" for i in range(60)]
    wrong = [any(stats.paired(row[:n], np.zeros(n), clusters[:n], intervals=False, inference=stats.Inference(resamples=500)).p
                 < 0.05 for n in (20, 30, 45, 60)) for row in sums]
    assert np.mean(wrong) > 0.15
    assert simulated.false_decisions(null, 400, 3) < 0.03
