"""What scores of the shots of a video say, as English sentences made from a template, and as claims."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from vxp.core import VxpError
from vxp.documents import shots
from vxp.documents.words import MAX_CLAIMS, Claim, Words

ORDINARY = 3
"""Shots that are named."""
FINEST = 3
"""Digits of a second behind the point, at most."""


def of_fragments(
    scores: Sequence[float], segments: shots.Segments, fps: shots.Rate | None, k: int = ORDINARY, shows: Sequence[str] = (),
) -> Words:
    """The shots with the k largest scores in order, with their times, and the one with the smallest.

    Shots are counted from 1, as people count them; of equal scores the earlier shot counts more. Every shot that is named as
    one that counts is a claim: attribute `shot`, value its number, role `cause`. Where k is at least the number of shots, all
    are named, and none is said to count least. Times count from the start of the video, in minutes and seconds, halves to even;
    where a shot is shorter than a second, they have the tenths, hundredths or thousandths that it takes to see it. Without a
    rate no times are told.

    scores: a finite number per shot; segments: half-open ranges of frames that follow on each other from 0; k: from 1 to 64;
    shows: what every shot is seen as, a noun, where that is told. VxpError for anything else.
    """
    _check(scores, segments, fps, k)
    ranked = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return of_shots(ranked[:k], segments, fps, shows, ranked[-1] if len(ranked) > k else None)


def of_shots(
    named: Sequence[int], segments: shots.Segments, fps: shots.Rate | None, shows: Sequence[str] = (), least: int | None = None,
) -> Words:
    """The same of shots in the order in which they count; least: the one that counts least, None where it is not told. Of no
    shot it says that none counts, and claims nothing."""
    if not named:
        return Words("The order of the frames hangs on no single shot.")
    places = [_shot(i, segments, fps, shows) for i in named]
    told = f" Shot {least + 1} counts least." if least is not None else ""
    return Words(f"The order of the frames hangs most on {_listed(places)}.{told}",
                 tuple(Claim("shot", str(i + 1), "cause") for i in named))


def of_parts(named: Sequence[str]) -> Words:
    """The parts of an image in the order in which they count, each a claim: attribute `part`, value its name."""
    if not named:
        return Words("The answer hangs on no single part.")
    return Words(f"The answer hangs most on {_listed([f'the {name}' for name in named])}.",
                 tuple(Claim("part", name, "cause") for name in named))


def _listed(places: Sequence[str]) -> str:
    return places[0] if len(places) == 1 else f"{', then '.join(places[:-1])} and then {places[-1]}"


def _shot(i: int, segments: shots.Segments, fps: shots.Rate | None, shows: Sequence[str]) -> str:
    """A shot with its number and times, and what it is seen as, where these are known."""
    digits = 0 if fps is None else _digits(segments, fps)
    times = [] if fps is None else [f"{_clock(segments[i][0], fps, digits)} to {_clock(segments[i][1], fps, digits)}"]
    told = ", ".join([*times, *([f"seen as {shows[i]}"] if shows else [])])
    return f"shot {i + 1} ({told})" if told else f"shot {i + 1}"


def _check(scores: Sequence[float], segments: shots.Segments, fps: shots.Rate | None, k: int) -> None:
    where = "the sentences of scores"
    rate = 1 if fps is None else fps
    if not segments or not 0 < rate < math.inf:
        raise VxpError(f"{where}: got {len(segments)} shots at {float(rate):g} frames per second, expected at least one, and a "
                       "finite rate above 0")
    shots.checked(segments, segments[-1][1], where=where)
    if len(scores) != len(segments) or not all(math.isfinite(score) for score in scores):
        finite = sum(math.isfinite(score) for score in scores)
        raise VxpError(f"{where}: got {len(scores)} scores, {finite} of them finite, expected a finite one for each of "
                       f"{len(segments)} shots")
    if not 1 <= k <= MAX_CLAIMS:
        raise VxpError(f"{where}: k is {k}, expected 1 to {MAX_CLAIMS}, the most claims of an explanation")


def _digits(segments: shots.Segments, fps: shots.Rate) -> int:
    """How many digits seconds have, so that the shortest shot lasts one of the last digit at least."""
    shortest = min(end - start for start, end in segments) / Fraction(fps)
    return next((digits for digits in range(FINEST) if shortest * 10**digits >= 1), FINEST)


def _clock(frame: int, fps: shots.Rate, digits: int) -> str:
    """When a frame begins, such as 1:05 or 0:12.4."""
    units = round(frame / Fraction(fps) * 10**digits)
    seconds, parts = divmod(units, 10**digits)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes}:{seconds:02}" + (f".{parts:0{digits}}" if digits else "")


__all__ = ["of_fragments", "of_parts", "of_shots"]
