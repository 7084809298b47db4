"""Lists of fragments of a video: half-open ranges [start, end) of frames that follow on each other from 0 to the last frame.

A list of shots is data: programs, and versions of one program, cut the same video differently. So it travels with the item, and
a digest ties scores to it. Public files count differently: `change_points` of TVSum and SumMe have inclusive ends, other lists
count frames from 1, or give seconds. Nothing of that is guessed: `faults` says what a list looks like, and its maker says what
it is.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from numbers import Real

import vxp_schemas

from vxp.errors import VxpError

Segments = tuple[tuple[int, int], ...]
"""Half-open ranges of frames, in order."""
Pairs = Sequence[tuple[int, int]]
Rate = Fraction | float
"""Frames per second."""
SHOWN = 3
"""Faults that an error tells."""


def checked(segments: Sequence[Sequence[object]], n_frames: int, *, where: str, fps: Rate | None = None) -> Segments:
    """The list where it partitions the frames 0 to n_frames - 1; else VxpError, which begins with `where`, with its faults."""
    found = faults(segments, n_frames, fps)
    if found:
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise VxpError(f"{where}: {'; '.join(found[:SHOWN])}{more}. Expected half-open ranges [start, end) of frames that "
                       f"follow on each other from 0 to {n_frames}")
    return _whole(segments)


def faults(segments: Sequence[Sequence[object]], n_frames: int, fps: Rate | None = None) -> list[str]:
    """What keeps a list from being a partition of n_frames frames, each in a clause that says what to do; none for a good list.

    Fragments are counted from 0. A list that looks like one of inclusive ends, of frames counted from 1, or of seconds (for
    whole numbers only where fps is given) is said to be so.
    """
    if n_frames < 1:
        return [f"the video has {n_frames} frames: give it at least one"]
    if not len(segments):
        return ["the list has no fragment: give one that holds every frame, where there is nothing to divide"]
    strange = [said for i, segment in enumerate(segments) if (said := _strange(i, segment))]
    if strange:
        return strange
    pairs = _whole(segments)
    if said := _seconds(pairs, n_frames, fps):
        return [said]
    said, right = _counted_otherwise(pairs, n_frames)
    if said:
        return [said, *(f"after that, {fault}" for fault in (_local(right, n_frames) if right else ()))]
    return list(_local(pairs, n_frames))


def _whole(segments: Sequence[Sequence[object]]) -> Segments:
    return tuple((int(start), int(end)) for start, end in segments)  # type: ignore[call-overload]


def _strange(i: int, segment: Sequence[object]) -> str:
    """Why a fragment is no pair of whole numbers; empty where it is one."""
    if len(segment) != 2:
        return f"fragment {i} has {len(segment)} values: give its start and its end"
    for value in segment:
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            return f"fragment {i} has the edge {value!r}, which is no number: give the number of a frame"
        if value != math.floor(value):
            return (f"fragment {i} has the edge {float(value):g}, which is no whole number: give frames, and multiply by the "
                    "frame rate what is in seconds")
    return ""


def _seconds(pairs: Pairs, n_frames: int, fps: Rate | None) -> str:
    """What is said of ranges that end where the video ends in seconds."""
    last = pairs[-1][1]
    if fps is None or fps <= 0 or last >= n_frames - 1 or abs(last - n_frames / fps) > 1:
        return ""
    return (f"the last end is {last}, and {n_frames} frames at {float(fps):g} per second are {float(n_frames / fps):.1f} "
            "seconds, so these are seconds: multiply them by the frame rate")


def _counted_otherwise(pairs: Pairs, n_frames: int) -> tuple[str, Pairs]:
    """What is said of ranges with inclusive ends, and the half-open ranges that they are, where that is known; empty for other
    ones."""
    steps = [later[0] - earlier[1] for earlier, later in pairwise(pairs)]
    follow, last = all(step == 1 for step in steps), pairs[-1][1]
    if follow and pairs[0][0] == 1 and last == n_frames:
        return ("the first start is 1, every start is the end before it plus 1, and the last end is the number of frames, so "
                "frames are counted from 1 and ends are inclusive: take 1 from every start", from_inclusive(pairs, first=1))
    if follow and steps and last == n_frames:
        return (f"every start is the end before it plus 1, as where ends are inclusive, and the last end is {last}, as where "
                "they are half-open: add 1 to every end but the last, or begin each where the one before it ends", ())
    if follow and steps:
        return "every start is the end before it plus 1, so the ends are inclusive: add 1 to every end", from_inclusive(pairs)
    if last == n_frames - 1 and (not steps or 1 in steps):
        return (f"the last end is {last}, the last frame, so the ends are inclusive: add 1 to every end", from_inclusive(pairs))
    return "", pairs


def _local(pairs: Pairs, n_frames: int) -> Iterator[str]:
    """The faults of half-open ranges one by one, and of neighbours."""
    for i, (start, end) in enumerate(pairs):
        if start == end:
            yield f"fragment {i} [{start}, {end}) holds no frame: leave it out"
        if start > end:
            yield f"fragment {i} starts at {start}, after its end {end}: exchange them"
        if start < 0:
            yield f"fragment {i} starts at {start}: count frames from 0"
        if end > n_frames:
            yield f"fragment {i} ends at {end}, beyond the {n_frames} frames of the video: end it at {n_frames}"
    for i, ((start, end), (next_start, next_end)) in enumerate(pairwise(pairs)):
        if next_start < start:
            yield f"fragment {i + 1} starts at {next_start}, before fragment {i} at {start}: put them in order"
        elif next_start < end:
            yield (f"fragments {i} and {i + 1} overlap in the frames [{next_start}, {min(end, next_end)}): end the first where "
                   "the second starts")
        elif end < next_start:
            yield _gap(end, next_start)
    if pairs[0][0] > 0:
        yield _gap(0, pairs[0][0])
    if pairs[-1][1] == n_frames - 1:
        yield f"the last end is {n_frames - 1}, which leaves the last frame out: end it at {n_frames}"
    elif pairs[-1][1] < n_frames:
        yield _gap(pairs[-1][1], n_frames)


def _gap(start: int, end: int) -> str:
    return f"the frames [{start}, {end}) lie in no fragment: give them one, or to a neighbour"


def from_inclusive(ranges: Sequence[Sequence[int]], *, first: int = 0) -> Segments:
    """The half-open ranges of ranges with inclusive ends, whose frames are counted from `first`."""
    return tuple((start - first, end - first + 1) for start, end in ranges)


def checked_inclusive(ranges: Sequence[Sequence[int]], n_frames: int, *, where: str, fps: Rate | None = None) -> Segments:
    """The half-open ranges of whole numbers that are stated to have inclusive ends; VxpError, which begins with `where`, where
    they are half-open already, count frames from 1, or are no partition."""
    steps = {later[0] - earlier[1] for earlier, later in pairwise(ranges)}
    if len(ranges) and ranges[-1][1] == n_frames and ranges[0][0] == 0 and steps <= {0}:
        raise VxpError(f"{where}: got half-open ranges, the last one {list(ranges[-1])}, expected inclusive ends, the last "
                       f"{n_frames - 1}: take 1 from every end")
    if len(ranges) and ranges[-1][1] == n_frames and ranges[0][0] == 1 and steps <= {1}:
        raise VxpError(f"{where}: got frames counted from 1, the last one {n_frames}, expected frames counted from 0: take 1 "
                       "from every start and every end")
    return checked(from_inclusive(ranges), n_frames, where=f"{where} (as half-open ranges [start, end + 1))", fps=fps)


def digest(segments: Sequence[Sequence[int]]) -> str:
    """`sha256:` of the RFC 8785 form of a list [[start, end], ...]."""
    whole = [[int(edge) for edge in segment] for segment in segments]
    return f"sha256:{hashlib.sha256(vxp_schemas.canonical(whole)).hexdigest()}"


def fragments_of(picks: Sequence[int], segments: Pairs) -> list[int]:
    """The number of the half-open range that holds each picked frame, of ranges in order; VxpError for a frame in none."""
    starts = [start for start, _ in segments]
    found = [bisect_right(starts, pick) - 1 for pick in picks]
    for pick, i in zip(picks, found, strict=True):
        if i < 0 or pick >= segments[i][1]:
            raise VxpError(f"frame {pick} lies in no segment of {list(segments)[:5]}, expected half-open segments that hold "
                           "every picked frame")
    return found


def seconds_of(n_frames: int, fps: Rate) -> Segments:
    """The whole seconds of a video: frame t lies in second floor(t/fps), and the last second may be shorter.

    VxpError for less than one frame per second, where some seconds have none.
    """
    if n_frames < 1 or not 1 <= fps < math.inf:
        raise VxpError(f"{n_frames} frames at {float(fps):g} per second, expected at least one frame, and at least one in "
                       "every second: give the frame rate of the video")
    rate = Fraction(fps)
    edges = [math.ceil(k * rate) for k in range(math.floor((n_frames - 1) / rate) + 1)]
    return tuple(pairwise([*edges, n_frames]))


def steps_of(picks: Sequence[int], n_frames: int) -> Segments:
    """The frames that each picked one stands for: those from it up to the next, and for the first also those before it.

    VxpError unless the picks rise and lie in the video.
    """
    rising = all(one < other for one, other in pairwise(picks))
    if not len(picks) or picks[0] < 0 or not rising or picks[-1] >= n_frames:
        raise VxpError(f"the picked frames are {[int(pick) for pick in picks[:5]]} and so on, expected frames that rise from 0 "
                       f"on and lie below {n_frames}, the number of frames")
    return tuple(pairwise([0, *(int(pick) for pick in picks[1:]), n_frames]))


__all__ = ["Rate", "Segments", "checked", "checked_inclusive", "digest", "faults", "fragments_of", "from_inclusive",
           "seconds_of", "steps_of"]
