"""A summary of a video from scores of its frames, and its F1 against summaries that people made.

The shots of a summary are those that a knapsack of at most 15 % of the frames holds. Public code disagrees on what a shot is
worth, on the size of the knapsack and on an empty summary; each choice has a name (`DIALECTS`). F1 says as much of the list of
shots as of the scores: where one shot fills the knapsack, any scores are perfect.

Shots are half-open ranges of frames in order. The `change_points` of TVSum and SumMe are inclusive: [a, b] is (a, b + 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vxp.core import VxpError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Shots = Sequence[tuple[int, int]]
BUDGET = 0.15


@dataclass(frozen=True)
class Dialect:
    """How a summary is made of scores. worth: of a shot, from the mean score of its frames; limit: whether the knapsack holds
    15 % of the video's `frames` or of those up to the end of the `last-shot`; empty: what F1 is where no shot fits."""

    worth: Literal["mean", "thousandths"]
    limit: Literal["frames", "last-shot"]
    empty: Literal["zero", "undefined"]


DIALECTS: Mapping[str, Dialect] = {
    "dr-dsn": Dialect("mean", "frames", "zero"),
    "dsnet": Dialect("thousandths", "frames", "zero"),
    "ca-sum": Dialect("mean", "last-shot", "undefined"),
}
"""By the code that first had them: DR-DSN (Zhou et al. 2018), DSNet (Zhu et al. 2021), CA-SUM (Apostolidis et al. 2022)."""
USERS: Mapping[str, Callable[[Sequence[float]], float]] = {"avg": lambda found: float(np.mean(found)), "max": max}
"""How the F1 of several people's summaries become one: the mean for TVSum, the largest for SumMe."""


def spread(scores: Floats, picks: Sequence[int], frames: int) -> Floats:
    """Scores of so many frames from those of the picked ones: each has that of the last pick up to it, 0 before the first."""
    found = np.zeros(frames)
    for score, start, end in zip(scores, picks, [*picks[1:], frames], strict=True):
        found[start:end] = score
    return found


def summary(scores: Floats, shots: Shots, dialect: str) -> Bools:
    """bool [n], the frames of a summary, of the scores [n] of all frames.

    Where two sets of shots are worth the same, that without the last shot in which they differ is taken. VxpError unless the
    shots are ranges in order within the video.
    """
    _check(shots, len(scores))
    return chosen_shots([float(scores[start:end].mean()) for start, end in shots], shots, len(scores), dialect)


def chosen_shots(means: Sequence[float], shots: Shots, frames: int, dialect: str) -> Bools:
    """The same of the mean score of every shot of a video of so many frames."""
    rules = _known(dialect)
    _check(shots, frames)
    worth = [mean if rules.worth == "mean" else int(1000 * mean) for mean in means]
    limit = math.floor((frames if rules.limit == "frames" else shots[-1][1]) * BUDGET)
    chosen = knapsack(worth, [end - start for start, end in shots], limit)
    found = np.zeros(frames, bool)
    for (start, end), taken in zip(shots, chosen, strict=True):
        found[start:end] = taken
    return found


def _known(dialect: str) -> Dialect:
    if dialect not in DIALECTS:
        raise VxpError(f"no dialect of summaries is called {dialect!r}, expected one of {', '.join(DIALECTS)}")
    return DIALECTS[dialect]


def _check(shots: Shots, frames: int) -> None:
    edges = [edge for shot in shots for edge in shot]
    if not shots or edges[0] < 0 or edges[-1] > frames or edges != sorted(edges) or any(a == b for a, b in shots):
        raise VxpError(f"the shots {list(shots)[:5]} are no ranges [start, end) in order within {frames} frames, expected "
                       "such: to inclusive ends add 1")


def knapsack(worth: Sequence[float], sizes: Sequence[int], limit: int) -> list[bool]:
    """Which things are in the most valuable set whose sizes sum to at most the limit, by dynamic programming; a thing that adds
    nothing is left out, the last first."""
    best = np.zeros((len(sizes) + 1, limit + 1))
    for i, (value, size) in enumerate(zip(worth, sizes, strict=True)):
        best[i + 1] = best[i]
        if size <= limit:
            best[i + 1, size:] = np.maximum(best[i, size:], best[i, : limit + 1 - size] + value)
    left, chosen = limit, [False] * len(sizes)
    for i in range(len(sizes) - 1, -1, -1):
        if best[i + 1, left] != best[i, left]:
            chosen[i], left = True, left - sizes[i]
    return chosen


def f1(made: Bools, wanted: Bools) -> float:
    """2*P*R/(P + R) of two summaries, bool [n], with P and R the overlap over the size of either; 0 where they do not overlap.

    DR-DSN adds 1e-8 to the sizes, which is left out here.
    """
    overlap = int((made & wanted).sum())
    if not overlap:
        return 0.0
    precision, recall = overlap / int(made.sum()), overlap / int(wanted.sum())
    return 2 * precision * recall / (precision + recall)


def summary_f1(scores: Floats, shots: Shots, people: Bools, *, dialect: str = "dr-dsn", users: str = "avg") -> float | None:
    """F1 of the summary by scores [n] against summaries of people, bool [U, n], averaged or the largest (Gygli et al. 2014 for
    SumMe, Song et al. 2015 for TVSum).

    Range [0, 1], higher is better. None, `empty-summary`, where no shot is taken and the dialect then divides by zero.
    """
    if people.ndim != 2 or not len(people) or people.shape[1] != len(scores):
        raise VxpError(f"summaries of people have the shape {people.shape}, expected [U, {len(scores)}], a row per person and "
                       "as many frames as there are scores")
    return agreement(summary(scores, shots, dialect), people, dialect=dialect, users=users)


def agreement(made: Bools, people: Bools, *, dialect: str, users: str) -> float | None:
    """The F1 of a summary, bool [n], against those of people, bool [U, n]; None where it is empty and the dialect then divides
    by zero."""
    if users not in USERS:
        raise VxpError(f"no rule for several users is called {users!r}, expected one of {', '.join(USERS)}")
    if not made.any() and _known(dialect).empty == "undefined":
        return None
    return USERS[users]([f1(made, wanted) for wanted in people])


__all__ = ["BUDGET", "DIALECTS", "USERS", "Dialect", "agreement", "chosen_shots", "f1", "knapsack", "spread", "summary",
           "summary_f1"]
