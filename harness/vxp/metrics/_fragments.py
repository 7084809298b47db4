"""Scores of explanations that weight the fragments of a video, whose output is a score per frame.

A fragment is removed by whatever the caller does for it: its frames leave the video, or something takes their place. Here it is
a mask: `rescored` maps bool [B, R, S], the fragments that each of R rows lacks, to the frames' scores [B, R, n] without them.
Fragments go by weight, the largest first, ties by index; the least go from the end of that order.

Two forms of the same ideas disagree and have names of their own. Of 2022 (Apostolidis et al., ISM 2022): discoverability is
1 - tau, so plus is better higher and minus lower. Of 2024 (Tsigos et al., arXiv:2405.10082): it is tau, the other way about.

Every function returns the values float64 [B] and, by code, bool [B] where a video has none: the arguments of `outcome`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from vxp.core import VxpError
from vxp.metrics._correlation import spearman
from vxp.metrics._regions import ROUNDING, falling

Rescored = Callable[[Tensor], Tensor]
End = Literal["most", "least"]
Mode2022 = Literal["single", "batch"]
Mode2024 = Literal["one-by-one", "sequential"]
Sign = Literal["signed", "absolute"]
Changed = Literal["mean-score", "rank-order"]
Found = tuple[Tensor, dict[str, Tensor]]

SINGLE = 5
"""Fragments that 2022 replaces one by one."""
SHARES = tuple(Fraction(percent, 100) for percent in (1, 5, 10, 15, 20))
"""Shares of the fragments that 2022 replaces together."""
RANKS = 3
"""Ranks of 2024."""
CONSTANT, FEW, ALIKE, STILL = "constant-scores", "too-few-fragments", "constant-groups", "zero-variance"
TIE = 1e-9
"""Discoverabilities that are no further apart are equal: sums of the same numbers in another order are."""


@dataclass(frozen=True, eq=False)
class Fragments:
    """Explained videos: weights [B, S] of their fragments, scores [B, n] of their frames, and what these become.

    of int64 [B, n]: the fragment of every frame. Where it is given, frames of removed fragments are no longer there, and only
    the others are compared (slice-out); by default something takes their place and all are.
    """

    weights: Tensor
    scores: Tensor
    rescored: Rescored
    of: Tensor | None = None

    def without(self, removed: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [B, R, n] without fragments [B, R, S], and which frames are compared, bool [B, R, n]."""
        found = self.rescored(removed)
        expected = (*removed.shape[:2], self.scores.shape[1])
        if tuple(found.shape) != expected:
            raise VxpError(f"scores without fragments have the shape {tuple(found.shape)}, expected {expected}: one score per "
                           "frame of the whole video and row")
        if self.of is None:
            return found, torch.ones_like(found, dtype=torch.bool)
        gone = removed.gather(2, self.of.to(removed.device)[:, None].expand(expected))
        return found, ~gone.to(found.device)

    def taus(self, removed: Tensor) -> Found:
        """tau_b between the scores and those without fragments [B, R, S]: [B, R]."""
        found, compared = self.without(removed)
        return tau_b(self.scores[:, None].expand_as(found), found, compared)


# ------------------------------------------------------------------------------------------------------------ rank and rows


def tau_b(a: Tensor, b: Tensor, compared: Tensor | None = None, *, rounding: float = ROUNDING) -> Found:
    """Kendall's tau_b along the last dimension of a and b [..., n] (Kendall 1945): sum of sign(a_i - a_j)*sign(b_i - b_j) over
    pairs, by the root of the numbers of pairs that are not tied in a and that are not tied in b.

    A pair is tied where its scores differ by at most rounding*max(1, |a_i|, |a_j|): frames that look alike, as removed ones
    do, have scores that differ by how float32 rounds. compared, bool [..., n]: the places that count. Range [-1, 1]. Undefined,
    `constant-scores`, where no pair of one side differs, which includes that fewer than two places count.
    """
    counted = torch.ones_like(a, dtype=torch.bool) if compared is None else compared
    rows = [_tau_b(x, y, c, rounding) for x, y, c in zip(*(t.reshape(-1, t.shape[-1]) for t in (a, b, counted)), strict=True)]
    found = torch.stack(rows).reshape(*a.shape[:-1], 2)
    return found[..., 0], {CONSTANT: found[..., 1] == 0}


def _tau_b(a: Tensor, b: Tensor, compared: Tensor, rounding: float) -> Tensor:
    """tau_b of vectors, and the number of pairs that it divides by."""
    a, b = a[compared].double(), b[compared].double()
    if a.isnan().any() or b.isnan().any():  # whose sign torch takes for 0, a tie
        return torch.full((2,), torch.nan, dtype=torch.float64)
    up, over = (_signs(x, rounding) for x in (a, b))
    pairs = ((up * up).sum() * (over * over).sum()).sqrt()
    return torch.stack([(up * over).sum() / torch.where(pairs == 0, torch.ones_like(pairs), pairs), pairs])


def _signs(x: Tensor, rounding: float) -> Tensor:
    """[n, n]: whether a score is above another, below it or tied with it."""
    gap, size = x[:, None] - x[None], x.abs().clamp_min(1)
    return gap.sign().masked_fill(gap.abs() <= rounding * torch.maximum(size[:, None], size[None]), 0.0)


def one_by_one(weights: Tensor, ranks: Sequence[int], end: End) -> Tensor:
    """bool [B, R, S]: row by row the one fragment of this rank, 0 being the first of its end."""
    place = _place(weights, end)[:, None]
    return place == torch.tensor(list(ranks), device=place.device)[:, None]


def together(weights: Tensor, numbers: Sequence[int], end: End) -> Tensor:
    """bool [B, R, S]: row by row the first so many fragments of an end."""
    place = _place(weights, end)[:, None]
    return place < torch.tensor(list(numbers), device=place.device)[:, None]


def _place(weights: Tensor, end: End) -> Tensor:
    """int64 [B, S]: the place of every fragment, counted from this end of the order."""
    place = falling(weights)
    return place if end == "most" else weights.shape[1] - 1 - place


def _few(weights: Tensor, needed: int) -> Tensor:
    """bool [B]: whether there are fewer fragments than needed."""
    return torch.full((len(weights),), weights.shape[1] < needed)


def _all_defined(undefined: dict[str, Tensor]) -> dict[str, Tensor]:
    """By code, bool [B] of [B, R]: a mean over rows needs all of them."""
    return {code: where.any(1).cpu() for code, where in undefined.items()}


# ------------------------------------------------------------------------------------------------------ discoverability


def disc_2022(videos: Fragments, end: End, *, mode: Mode2022 = "single") -> Found:
    """Discoverability of 2022, Disc+ of the `most` and Disc- of the `least` relevant fragments: mean of 1 - tau_b between the
    scores and those without them (Apostolidis et al., ISM 2022).

    `single`: the SINGLE first, each alone. `batch`: the first ceil(p*S) together for p in SHARES. Range [0, 2]; higher is
    better of `most`, lower of `least`. Undefined, `constant-scores`, where a tau is; `too-few-fragments` where there are not
    more than SINGLE (`single`: both ends would be the same fragments) or than one (`batch`).
    """
    S = videos.weights.shape[1]
    rows = (one_by_one(videos.weights, range(SINGLE), end) if mode == "single"
            else together(videos.weights, counts_2022(S), end))
    taus, undefined = videos.taus(rows)
    return (1 - taus).mean(1), {FEW: _few(videos.weights, needed_2022(mode)), **_all_defined(undefined)}


def counts_2022(fragments: int) -> list[int]:
    """How many fragments 2022 replaces together: ceil(p*S) for p in SHARES."""
    return [-(-share.numerator * fragments // share.denominator) for share in SHARES]


def needed_2022(mode: Mode2022) -> int:
    """How many fragments a video needs, so that its ends differ."""
    return (SINGLE if mode == "single" else 1) + 1


def sv_2022(videos: Fragments, *, mode: Mode2022 = "single") -> Found:
    """Sanity violation of 2022: 1 where not Disc- < Disc+, so a tie, up to TIE, violates (Apostolidis et al., ISM 2022).

    0 or 1, the mean over videos is their share, lower is better. Undefined where either is.
    """
    (plus, undefined), (minus, also) = (disc_2022(videos, end, mode=mode) for end in ("most", "least"))
    return _unless_nan((minus >= plus - TIE).double(), plus + minus), _either(undefined, also)


def disc_2024(
    videos: Fragments, end: End, *, rank: int = 1, mode: Mode2024 = "one-by-one",
) -> Found:
    """Discoverability of 2024, Disc+ of the `most` and Disc- of the `least` relevant fragments: tau_b between the scores and
    those without the fragment of this rank, or without all up to it (Tsigos et al. 2024, arXiv:2405.10082).

    Range [-1, 1]; lower is better of `most`, higher of `least`: the directions of 2022 turned round. Ranks go to RANKS, by
    signed weight; the source leaves videos out that have fewer fragments of a sign than that, so its methods are averaged over
    different videos. Undefined, `constant-scores`, where tau is; `too-few-fragments` where there are not more than RANKS.
    """
    if not 1 <= rank <= RANKS:
        raise VxpError(f"discoverability of 2024 was asked for rank {rank}, expected 1 to {RANKS}")
    rows = one_by_one(videos.weights, [rank - 1], end) if mode == "one-by-one" else together(videos.weights, [rank], end)
    taus, undefined = videos.taus(rows)
    return taus[:, 0], {FEW: _few(videos.weights, RANKS + 1), **_all_defined(undefined)}


def sv_2024(videos: Fragments, *, mode: Mode2024 = "one-by-one") -> Found:
    """Sanity violation of 2024: the share of ranks k at which Disc-_k < Disc+_k; a tie (TIE) is none (Tsigos et al. 2024).

    Range [0, 1], lower is better. Undefined where one of the 2*RANKS discoverabilities is.
    """
    plus, minus = ([disc_2024(videos, end, rank=k + 1, mode=mode) for k in range(RANKS)] for end in ("most", "least"))
    values = [torch.stack([value for value, _ in found], 1) for found in (plus, minus)]
    undefined: dict[str, Tensor] = {}
    for _, codes in (*plus, *minus):
        undefined = _either(undefined, codes)
    return _unless_nan((values[1] < values[0] - TIE).double().mean(1), (values[0] + values[1]).sum(1)), undefined


def fragment_deletion(videos: Fragments) -> Found:
    """Fragment deletion: mean of tau_b between the scores and those without the k most relevant fragments, k = 1, ..., S - 1.

    A deletion curve (Petsiuk et al. 2018) over fragments, read by the order of the frames. Range [-1, 1], lower is better.
    Undefined, `constant-scores`, where one tau is; `too-few-fragments` where there is one fragment. Without any fragment tau is
    1, and without all of them mostly undefined, so neither end of the curve counts.

    Not to be read alone: most rows lack many fragments, whose frames then look alike, and a ranking by what each fragment does
    alone can score worse than chance here.
    """
    S = videos.weights.shape[1]
    few = _few(videos.weights, 2)
    if S < 2:
        return torch.full((len(few),), torch.nan, dtype=torch.float64), {FEW: few}
    taus, undefined = videos.taus(together(videos.weights, range(1, S), "most"))
    return taus.mean(1), {FEW: few, **_all_defined(undefined)}


def _unless_nan(values: Tensor, of: Tensor) -> Tensor:
    """The values, NaN where a comparison made a number of what was none."""
    return torch.where(of.isnan(), of, values)


def _either(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Tensor]:
    return {code: one[code] | other[code] if code in one and code in other else one.get(code, other.get(code))  # type: ignore[misc]
            for code in (one | other)}


# ------------------------------------------------------------------------------------------------------ rank correlation


def changes(videos: Fragments, explanandum: Changed) -> Found:
    """What the output loses with each fragment alone, float64 [B, S]: of the mean score of the frames, that of all less that
    without it, signed, and 0 up to ROUNDING*max(1, |mean|); of the order of the frames, 1 - tau_b, in [0, 2], without a sign.

    Undefined, `constant-scores`, where one tau_b is. The source drops such fragments, and compares the others only.
    """
    S = videos.weights.shape[1]
    alone = torch.eye(S, dtype=torch.bool, device=videos.weights.device).expand(len(videos.weights), S, S)
    if explanandum == "rank-order":
        taus, undefined = videos.taus(alone)
        return 1 - taus, _all_defined(undefined)
    found, compared = videos.without(alone)
    left = (found.double() * compared).sum(2) / compared.sum(2)
    whole = videos.scores.double().mean(1, keepdim=True)
    change = whole - left
    return change.masked_fill(change.abs() <= ROUNDING * whole.abs().clamp_min(1), 0.0), {}


def rank_correlation(weights: Tensor, change: Tensor, *, sign: Sign = "signed") -> Found:
    """Spearman's correlation over fragments between weights [B, S] and the change of the output without each, [B, S].

    `signed` takes both as they are; `absolute` takes the absolute value of both (Apostolidis et al., ISM 2022), which cannot
    tell an explanation from its opposite. Range [-1, 1], higher is better. Undefined, `zero-variance`, where one side has one
    value, which includes a single fragment.
    """
    a, b = weights.double(), change.double().to(weights.device)
    value, still = spearman(a.abs(), b.abs()) if sign == "absolute" else spearman(a, b)
    return _unless_nan(value, (a + b).sum(1)), {STILL: still}


__all__ = [
    "ALIKE", "CONSTANT", "FEW", "RANKS", "SHARES", "SINGLE", "STILL", "TIE", "Changed", "End", "Found", "Fragments", "Mode2022",
    "Mode2024", "Rescored", "Sign", "changes", "counts_2022", "disc_2022", "disc_2024", "fragment_deletion", "needed_2022",
    "one_by_one", "rank_correlation", "sv_2022", "sv_2024", "tau_b", "together",
]
