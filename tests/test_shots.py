"""Lists of shots: what is a partition, what is said of what is none, and the ways from other lists to one."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vxp.core import VxpError
from vxp.datasets import Timeline
from vxp.documents import shots
from vxp.models.frame_features import fragment_of

GOOD = ((0, 73), (73, 104), (104, 200))
N = 200


@st.composite
def partitions(draw: st.DrawFn) -> tuple[tuple[tuple[int, int], ...], int]:
    """A partition and its number of frames."""
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=12))
    edges = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    return tuple(pairwise(edges)), edges[-1]


# ------------------------------------------------------------------------------------------------------------ good lists


@settings(max_examples=200, deadline=None)
@given(partitions())
def test_a_partition_has_no_fault_whatever_its_numbers_are_made_of(made: tuple[tuple[tuple[int, int], ...], int]) -> None:
    segments, n = made
    for given_ in (segments, np.array(segments), np.array(segments, np.float32), [list(segment) for segment in segments]):
        assert shots.faults(given_, n) == []
        assert shots.checked(given_, n, where="x") == segments
        assert all(type(edge) is int for segment in shots.checked(given_, n, where="x") for edge in segment)


@settings(max_examples=200, deadline=None)
@given(partitions(), st.integers(0, 1))
def test_inclusive_ends_are_seen_and_become_half_open(made: tuple[tuple[tuple[int, int], ...], int], first: int) -> None:
    segments, n = made
    inclusive = [(start + first, end - 1 + first) for start, end in segments]
    found = shots.faults(inclusive, n)
    assert len(found) == 1
    assert ("counted from 1" if first else "the ends are inclusive: add 1 to every end") in found[0]
    assert shots.from_inclusive(inclusive, first=first) == segments


@settings(max_examples=200, deadline=None)
@given(partitions(), st.data())
def test_a_partition_with_one_edge_moved_is_none(made: tuple[tuple[tuple[int, int], ...], int], data: st.DataObject) -> None:
    segments, n = made
    i, side = data.draw(st.integers(0, len(segments) - 1)), data.draw(st.integers(0, 1))
    moved = [list(segment) for segment in segments]
    moved[i][side] += data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3]))
    assert shots.faults(moved, n)


# ----------------------------------------------------------------------------------------------------------------- faults

FAULTS: list[tuple[str, Sequence[Sequence[object]], int, float | None, list[str]]] = [
    ("no frame", GOOD, 0, None, ["the video has 0 frames: give it at least one"]),
    ("no fragment", (), N, None, ["the list has no fragment"]),
    ("three values", ((0, 73, 1), (73, 200)), N, None, ["fragment 0 has 3 values: give its start and its end"]),
    ("a word", ((0, "73"), (73, 200)), N, None, ["fragment 0 has the edge '73', which is no number"]),
    ("nan", ((0, math.nan), (73, 200)), N, None, ["fragment 0 has the edge nan, which is no number"]),
    ("a truth value", ((False, 73), (73, 200)), N, None, ["fragment 0 has the edge False, which is no number"]),
    ("parts of seconds", ((0, 4.5), (4.5, 8.0)), N, 25, ["the edge 4.5, which is no whole number", "the edge 4.5"]),
    ("whole seconds", ((0, 4), (4, 8)), N, 25, ["the last end is 8, and 200 frames at 25 per second are 8.0 seconds"]),
    ("rounded seconds", ((0, 4), (4, 7)), N, 29.97, ["200 frames at 29.97 per second are 6.7 seconds, so these are seconds"]),
    ("whole seconds, no rate", ((0, 4), (4, 8)), N, None, [r"the frames \[8, 200\) lie in no fragment"]),
    ("inclusive", ((0, 72), (73, 103), (104, 199)), N, None, ["every start is .* plus 1, .* add 1 to every end"]),
    ("inclusive, too short", ((0, 72), (73, 150)), N, None,
     ["add 1 to every end", r"after that, the frames \[151, 200\) lie in no fragment"]),
    ("inclusive or not", ((0, 72), (73, 103), (104, 200)), N, None,
     ["plus 1, as where ends are inclusive, and the last end is 200, as where they are half-open: add 1 to every"]),
    ("inclusive, one gap", ((0, 72), (73, 103), (110, 199)), N, None,
     ["the last end is 199, the last frame, so the ends are inclusive", r"after that, the frames \[104, 110\)"]),
    ("inclusive, one", ((0, 199),), N, None, ["the last end is 199, the last frame, so the ends are inclusive"]),
    ("last frame left out", ((0, 73), (73, 199)), N, None, ["leaves the last frame out: end it at 200"]),
    ("counted from 1", ((1, 73), (74, 104), (105, 200)), N, None,
     ["frames are counted from 1 and ends are inclusive: take 1 from every start"]),
    ("empty", ((0, 73), (73, 73), (73, 200)), N, None, [r"fragment 1 \[73, 73\) holds no frame: leave it out"]),
    ("reversed", ((0, 73), (104, 73), (104, 200)), N, None,
     ["fragment 1 starts at 104, after its end 73", r"the frames \[73, 104\)", r"the frames \[73, 104\)"]),
    ("overlap", ((0, 80), (73, 200)), N, None, [r"fragments 0 and 1 overlap in the frames \[73, 80\)"]),
    ("within", ((0, 200), (73, 80)), N, None, [r"fragments 0 and 1 overlap in the frames \[73, 80\)", r"\[80, 200\)"]),
    ("gap", ((0, 70), (73, 200)), N, None, [r"the frames \[70, 73\) lie in no fragment"]),
    ("late", ((5, 73), (73, 200)), N, None, [r"the frames \[0, 5\) lie in no fragment"]),
    ("before the first", ((-5, 73), (73, 200)), N, None, ["fragment 0 starts at -5: count frames from 0"]),
    ("beyond", ((0, 73), (73, 210)), N, None, ["fragment 1 ends at 210, beyond the 200 frames of the video: end it at 200"]),
    ("out of order", ((73, 200), (0, 73)), N, None, ["fragment 1 starts at 0, before fragment 0 at 73: put them in order",
                                                    r"the frames \[0, 73\)", r"the frames \[73, 200\)"]),
]


@pytest.mark.parametrize(("segments", "n", "fps", "wanted"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_every_fault_is_told(segments: Sequence[Sequence[object]], n: int, fps: float | None, wanted: list[str]) -> None:
    found = shots.faults(segments, n, fps)
    assert len(found) == len(wanted), found
    for said, pattern in zip(found, wanted, strict=True):
        assert re.search(pattern, said), said
    with pytest.raises(VxpError, match=f"^video 3: .*{wanted[0]}.*Expected half-open ranges .* from 0 to {n}$"):
        shots.checked(segments, n, where="video 3", fps=fps)


def test_an_error_tells_the_first_faults_and_how_many_there_are() -> None:
    single = [(i, i + 1) for i in range(0, 40, 2)]
    found = shots.faults([(start, start + 2.5) for start, _ in single], 40)
    assert len(found) == 20
    with pytest.raises(VxpError) as said:
        shots.checked([(start, start + 2.5) for start, _ in single], 40, where="x")
    assert "and 17 more" in str(said.value)
    assert "fragment 3" not in str(said.value)


# ------------------------------------------------------------------------------------------------------------- other lists


def test_the_digest_is_of_the_canonical_json() -> None:
    text = json.dumps([list(segment) for segment in GOOD], separators=(",", ":")).encode()
    assert shots.digest(GOOD) == f"sha256:{hashlib.sha256(text).hexdigest()}"
    assert shots.digest(np.array(GOOD, np.int32)) == shots.digest(GOOD)
    assert shots.digest(((0, 72), *GOOD[1:])) != shots.digest(GOOD)


@settings(max_examples=100, deadline=None)
@given(partitions(), st.data())
def test_the_fragment_of_a_frame_is_the_one_that_holds_it(made: tuple[tuple[tuple[int, int], ...], int],
                                                          data: st.DataObject) -> None:
    segments, n = made
    picks = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1)))
    found = shots.fragments_of(picks, segments)
    assert found == [next(i for i, (start, end) in enumerate(segments) if start <= pick < end) for pick in picks]
    assert fragment_of(picks, segments).tolist() == found


@pytest.mark.parametrize(("pick", "segments"), [(12, [(0, 12)]), (3, [(4, 12)]), (5, [(0, 4), (6, 12)])])
def test_a_frame_in_no_fragment_is_refused(pick: int, segments: list[tuple[int, int]]) -> None:
    with pytest.raises(VxpError, match=f"frame {pick} lies in no segment"):
        shots.fragments_of([pick], segments)


def test_seconds_by_hand() -> None:
    assert shots.seconds_of(60, 25) == ((0, 25), (25, 50), (50, 60))
    assert shots.seconds_of(50, 25) == ((0, 25), (25, 50))
    assert shots.seconds_of(1, 25) == ((0, 1),)
    assert shots.seconds_of(6, 2.5) == ((0, 3), (3, 5), (5, 6))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 500), st.fractions(1, 60, max_denominator=1001))
def test_frames_lie_in_the_second_that_they_are_shown_in(n: int, fps: Fraction) -> None:
    found = shots.seconds_of(n, fps)
    assert shots.faults(found, n) == []
    assert shots.fragments_of(range(n), found) == [math.floor(t / fps) for t in range(n)]


@pytest.mark.parametrize(("n", "fps"), [(0, 25), (100, 0.5), (100, 0), (100, math.nan), (100, math.inf), (100, -25)])
def test_seconds_without_a_frame_are_refused(n: int, fps: float) -> None:
    with pytest.raises(VxpError, match="at least one in every second: give the frame rate"):
        shots.seconds_of(n, fps)


def test_a_picked_frame_stands_for_those_up_to_the_next() -> None:
    assert shots.steps_of([0, 15, 30], 40) == ((0, 15), (15, 30), (30, 40))
    assert shots.steps_of([7, 22], 40) == ((0, 22), (22, 40))
    assert shots.steps_of(np.array([0], np.int32), 40) == ((0, 40),)


@pytest.mark.parametrize("picks", [[], [-1, 15], [0, 15, 15], [0, 30, 15], [0, 40]])
def test_picks_that_do_not_rise_within_the_video_are_refused(picks: list[int]) -> None:
    with pytest.raises(VxpError, match="expected frames that rise from 0 on and lie below 40"):
        shots.steps_of(picks, 40)


def test_a_timeline_has_no_second_without_a_frame() -> None:
    """300 frames at 29.97 per second are 10.01 seconds, and the eleventh begins with frame 300, which is none."""
    timeline = Timeline(300, ((0, 300),), 29.97, tuple(range(0, 300, 15)))
    assert timeline.segments("second")[-1] == (270, 300)
    assert timeline.parts()["second"].tolist() == [math.floor(t / 29.97) for t in range(0, 300, 15)]
