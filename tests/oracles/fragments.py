"""Scores of weights of a video's fragments and frames, and F1 of summaries: one video, plain loops, by the definitions.

`rescored` maps the set of removed fragments to the frames' scores without them, a list as long as the video; `gone` are frames
that are not compared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
from scipy.stats import spearmanr

from oracles import UndefinedError

Rescored = Callable[[Collection[int]], Sequence[float]]


def above(x: float, y: float) -> bool:
    """Whether x is above y by more than a float32 number is known to."""
    return x - y > 1e-6 * max(1.0, abs(x), abs(y))


def tau_b(a: Sequence[float], b: Sequence[float]) -> float:
    """Concordant less discordant pairs, by the root of the pairs that a does not tie times those that b does not."""
    concordant = discordant = in_a = in_b = 0
    for i, j in itertools.combinations(range(len(a)), 2):
        a_rises, a_falls, b_rises, b_falls = above(a[j], a[i]), above(a[i], a[j]), above(b[j], b[i]), above(b[i], b[j])
        concordant += (a_rises and b_rises) or (a_falls and b_falls)
        discordant += (a_rises and b_falls) or (a_falls and b_rises)
        in_a += a_rises or a_falls
        in_b += b_rises or b_falls
    if not in_a * in_b:
        raise UndefinedError("constant-scores")
    return (concordant - discordant) / math.sqrt(in_a * in_b)


def ranked(weights: Sequence[float]) -> list[int]:
    """Fragments from the largest weight to the smallest, of equal ones the earlier first."""
    return sorted(range(len(weights)), key=lambda i: (-weights[i], i))


def kept_of(scores: Sequence[float], of: Sequence[int] | None, removed: Collection[int]) -> list[float]:
    return [float(s) for i, s in enumerate(scores) if of is None or of[i] not in removed]


def tau_without(
    scores: Sequence[float], rescored: Rescored, removed: Collection[int], of: Sequence[int] | None = None,
) -> float:
    return tau_b(kept_of(scores, of, removed), kept_of(rescored(removed), of, removed))


def ends(weights: Sequence[float], end: str) -> list[int]:
    return ranked(weights) if end == "most" else ranked(weights)[::-1]


def disc_2022(
    weights: Sequence[float], scores: Sequence[float], rescored: Rescored, of: Sequence[int] | None = None, *, end: str,
    mode: str,
) -> float:
    order = ends(weights, end)
    if len(order) <= (5 if mode == "single" else 1):
        raise UndefinedError("too-few-fragments")
    sets: Iterable[list[int]]
    if mode == "single":
        sets = [[order[rank]] for rank in range(5)]
    else:
        sets = [order[: math.ceil(percent * len(order) / 100)] for percent in (1, 5, 10, 15, 20)]
    return float(np.mean([1 - tau_without(scores, rescored, removed, of) for removed in sets]))


def sv_2022(
    weights: Sequence[float], scores: Sequence[float], rescored: Rescored, of: Sequence[int] | None = None, *, mode: str,
) -> float:
    plus, minus = (disc_2022(weights, scores, rescored, of, end=end, mode=mode) for end in ("most", "least"))
    return 0.0 if minus < plus - 1e-9 else 1.0


def disc_2024(
    weights: Sequence[float], scores: Sequence[float], rescored: Rescored, of: Sequence[int] | None = None, *, end: str,
    rank: int, mode: str,
) -> float:
    order = ends(weights, end)
    if len(order) <= 3:
        raise UndefinedError("too-few-fragments")
    removed = [order[rank - 1]] if mode == "one-by-one" else order[:rank]
    return tau_without(scores, rescored, removed, of)


def sv_2024(
    weights: Sequence[float], scores: Sequence[float], rescored: Rescored, of: Sequence[int] | None = None, *, mode: str,
) -> float:
    violations = 0
    for rank in (1, 2, 3):
        plus, minus = (disc_2024(weights, scores, rescored, of, end=end, rank=rank, mode=mode) for end in ("most", "least"))
        violations += minus < plus - 1e-9
    return violations / 3


def fragment_deletion(
    weights: Sequence[float], scores: Sequence[float], rescored: Rescored, of: Sequence[int] | None = None,
) -> float:
    order = ranked(weights)
    if len(order) < 2:
        raise UndefinedError("too-few-fragments")
    return float(np.mean([tau_without(scores, rescored, order[:k], of) for k in range(1, len(order))]))


def change(
    scores: Sequence[float], rescored: Rescored, fragment: int, of: Sequence[int] | None = None, *, explanandum: str,
) -> float:
    if explanandum == "rank-order":
        return 1 - tau_without(scores, rescored, [fragment], of)
    whole = float(np.mean(scores))
    lost = whole - float(np.mean(kept_of(rescored([fragment]), of, [fragment])))
    return 0.0 if abs(lost) <= 1e-6 * max(1.0, abs(whole)) else lost


def rank_correlation(weights: Sequence[float], changes: Sequence[float], *, sign: str) -> float:
    a, b = (np.abs(x) if sign == "absolute" else np.asarray(x) for x in (weights, changes))
    if len(set(a.tolist())) == 1 or len(set(b.tolist())) == 1:
        raise UndefinedError("zero-variance")
    return float(spearmanr(a, b).statistic)


# ----------------------------------------------------------------------------------------------------------------- summary


def summary(scores: Sequence[float], shots: Sequence[tuple[int, int]], *, dialect: str) -> set[int]:
    """Frames of the best set of shots, of all sets; of equally good ones that without the last shot in which they differ."""
    return best([sum(scores[start:end]) / (end - start) for start, end in shots], shots, len(scores), dialect=dialect)


def best(means: Sequence[float], shots: Sequence[tuple[int, int]], frames: int, *, dialect: str) -> set[int]:
    """The same of the mean score of every shot of a video of so many frames."""
    worth = [int(1000 * mean) for mean in means] if dialect == "dsnet" else means
    limit = int((shots[-1][1] if dialect == "ca-sum" else frames) * 0.15)
    sets = [taken for taken in itertools.product([False, True], repeat=len(shots))
            if sum(end - start for (start, end), t in zip(shots, taken, strict=True) if t) <= limit]
    chosen = min(sets, key=lambda taken: (-sum(w for w, t in zip(worth, taken, strict=True) if t), taken[::-1]))
    return {frame for (start, end), t in zip(shots, chosen, strict=True) if t for frame in range(start, end)}


def f1(made: set[int], wanted: set[int]) -> float:
    both = len(made & wanted)
    if not both:
        return 0.0
    precision, recall = both / len(made), both / len(wanted)
    return 2 * precision * recall / (precision + recall)


def summary_f1(
    scores: Sequence[float], shots: Sequence[tuple[int, int]], people: Sequence[set[int]], *, dialect: str, users: str,
) -> float:
    return agreement(summary(scores, shots, dialect=dialect), people, dialect=dialect, users=users)


def agreement(made: set[int], people: Sequence[set[int]], *, dialect: str, users: str) -> float:
    if not made and dialect == "ca-sum":
        raise UndefinedError("empty-summary")
    found = [f1(made, wanted) for wanted in people]
    return max(found) if users == "max" else sum(found) / len(found)
