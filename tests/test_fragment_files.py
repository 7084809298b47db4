"""Scores of parts of videos from files: what a good file gives, and what is said of every other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vxp.core import VxpError
from vxp.datasets import Timeline
from vxp.runs import fragment_files
from vxp.runs.fragment_files import FragmentScores

SHOTS = ((0, 73), (73, 104), (104, 200))
VIDEOS = {"a": Timeline(200, SHOTS, 25.0, tuple(range(0, 200, 15))), "b/c": Timeline(60, ((0, 30), (30, 60)))}
SCORES = {"a": (0.4, -1.25, 3.0), "b/c": (0.0, 1e-3)}


def entry(video: str = "a", **changes: Any) -> dict[str, Any]:
    parts = [{"start": start, "end": end, "score": score}
             for (start, end), score in zip(VIDEOS[video].fragments, SCORES[video], strict=True)]
    return {"video": video, "unit": "fragment", "fragments": parts, **changes}


def part(i: int, **changes: Any) -> list[dict[str, Any]]:
    """The parts of video a, one of them changed; a value of None leaves its key out."""
    parts = entry()["fragments"]
    parts[i] = {key: value for key, value in {**parts[i], **changes}.items() if value is not ...}
    return parts


def as_json(path: Path, *entries: Any) -> Path:
    path.write_text(json.dumps(entries[0] if len(entries) == 1 else list(entries)))
    return path


def as_csv(path: Path, rows: list[str], head: str = "video,start,end,score") -> Path:
    path.write_text("\n".join([head, *rows, ""]))
    return path


def rows(videos: Mapping[str, Timeline] = VIDEOS) -> list[str]:
    return [f"{video},{start},{end},{score}" for video in videos
            for (start, end), score in zip(VIDEOS[video].fragments, SCORES[video], strict=True)]


def one() -> dict[str, Timeline]:
    return {"a": VIDEOS["a"]}


# ------------------------------------------------------------------------------------------------------------ good files


def test_both_forms_give_the_same(tmp_path: Path) -> None:
    expected = [FragmentScores(video, "fragment", VIDEOS[video].fragments, SCORES[video]) for video in VIDEOS]
    assert fragment_files.read(as_json(tmp_path / "s.json", entry("b/c"), entry("a")), VIDEOS) == expected
    assert fragment_files.read(as_csv(tmp_path / "s.csv", rows()), VIDEOS) == expected
    assert fragment_files.read(as_json(tmp_path / "t.json", entry()), one()) == expected[:1]
    assert all(type(edge) is int for scores in expected for segment in scores.segments for edge in segment)


def test_what_a_file_states_is_kept(tmp_path: Path) -> None:
    file = as_json(tmp_path / "s.json", entry(explanandum="rank-order", signed=True, n_frames=200, fps=25.001))
    (scores,) = fragment_files.read(file, one())
    assert (scores.explanandum, scores.signed) == ("rank-order", True)


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """A byte-order mark, CRLF, columns in another order, whole numbers with a point, empty lines, blanks."""
    text = "\ufeffscore, end ,start,video\r\n0.4,73.0,0.0,a\r\n\r\n-1.25,104.0, 73.0 ,a\r\n3,200.0,104.0,a\r\n"
    (tmp_path / "s.CSV").write_bytes(text.encode())
    (scores,) = fragment_files.read(tmp_path / "s.CSV", one())
    assert (scores.segments, scores.values) == (SHOTS, SCORES["a"])


def test_inclusive_ends_are_taken_where_they_are_stated(tmp_path: Path) -> None:
    parts = [{**given_, "end": given_["end"] - 1} for given_ in entry()["fragments"]]
    for file, stated in ((as_json(tmp_path / "s.json", entry(fragments=parts, inclusive=True)), False),
                         (as_json(tmp_path / "t.json", entry(fragments=parts)), True),
                         (as_csv(tmp_path / "s.csv", ["a,0,72,0.4", "a,73,103,-1.25", "a,104,199,3"]), True)):
        (scores,) = fragment_files.read(file, one(), inclusive=stated)
        assert (scores.segments, scores.values) == (SHOTS, SCORES["a"])


@pytest.mark.parametrize("unit", ["frame", "second"])
def test_parts_may_be_steps_or_seconds(unit: Any, tmp_path: Path) -> None:
    segments = VIDEOS["a"].segments(unit)
    assert len(segments) == {"frame": 14, "second": 8}[unit]
    parts = [{"start": start, "end": end, "score": i} for i, (start, end) in enumerate(segments)]
    expected = [FragmentScores("a", unit, segments, tuple(range(len(segments))))]
    assert fragment_files.read(as_json(tmp_path / "s.json", entry(unit=unit, fragments=parts)), one()) == expected
    file = as_csv(tmp_path / "s.csv", [f"a,{start},{end},{i}" for i, (start, end) in enumerate(segments)])
    assert fragment_files.read(file, one(), unit=unit) == expected


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_written_is_what_is_read(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, inclusive = tmp_path_factory.mktemp("scores"), data.draw(st.booleans())
    videos, expected, lines, entries = {}, [], [], []
    for video in data.draw(st.lists(st.sampled_from(["a", "b/c", "d, e", 'f"g', "h"]), min_size=1, unique=True)):
        lengths = data.draw(st.lists(st.integers(1, 50), min_size=1, max_size=8))
        segments = tuple((sum(lengths[:i]), sum(lengths[: i + 1])) for i in range(len(lengths)))
        finite = st.floats(allow_nan=False, allow_infinity=False)
        values = tuple(data.draw(st.lists(finite, min_size=len(lengths), max_size=len(lengths))))
        videos[video] = Timeline(sum(lengths), segments)
        expected.append(FragmentScores(video, "fragment", segments, values))
        shown = [(start, end - inclusive, value) for (start, end), value in zip(segments, values, strict=True)]
        quoted = '"' + video.replace('"', '""') + '"'
        lines += [f"{quoted},{start},{end},{value!r}" for start, end, value in shown]
        entries.append({"video": video, "fragments": [{"start": s, "end": e, "score": v} for s, e, v in shown]})
    for file in (as_csv(folder / "s.csv", lines), as_json(folder / "s.json", *entries)):
        assert fragment_files.read(file, videos, inclusive=inclusive) == expected


# --------------------------------------------------------------------------------------------------------------- refused


def ranges(*edges: tuple[float, float]) -> list[dict[str, Any]]:
    return [{"start": start, "end": end, "score": 1} for start, end in edges]


A = r"entry 0, video 'a'"
OF_JSON: list[tuple[str, Any, str]] = [
    ("overlap", entry(fragments=part(0, end=80)), rf"{A}: fragments 0 and 1 overlap in the frames \[73, 80\)"),
    ("gap", entry(fragments=part(0, end=70)), rf"{A}: the frames \[70, 73\) lie in no fragment"),
    ("beyond", entry(fragments=part(2, end=210)), f"{A}: fragment 2 ends at 210, beyond the 200 frames of the video: end it"),
    ("inclusive", entry(fragments=ranges((0, 72), (73, 103), (104, 199))),
     f"{A}: every start is the end before it plus 1, so the ends are inclusive: add 1 to every end"),
    ("one inclusive", entry(fragments=ranges((0, 199))), f"{A}: the last end is 199, the last frame, so the ends are"),
    ("from 1", entry(fragments=ranges((1, 73), (74, 104), (105, 200))), f"{A}: .* frames are counted from 1 and ends are incl"),
    ("half-open, not inclusive", entry(inclusive=True), rf"{A}: got half-open ranges, the last one \[104, 200\], expected"),
    ("inclusive from 1", entry(inclusive=True, fragments=ranges((1, 73), (74, 104), (105, 200))),
     f"{A}: got frames counted from 1, the last one 200, expected frames counted from 0"),
    ("inclusive gap", entry(inclusive=True, fragments=ranges((0, 70), (73, 103), (104, 199))),
     rf"{A} \(as half-open ranges .*\): the frames \[71, 73\) lie in no fragment"),
    ("inclusive parts", entry(inclusive=True, fragments=part(0, end=72.5)), f"{A}: fragment 0 has the edge 72.5, which is no"),
    ("another length", entry(fragments=ranges((0, 100), (100, 200))),
     f"{A}: got 2 scores by fragment, expected 3, one for each fragment of the video: make the scores for its list"),
    ("another list", entry(fragments=ranges((0, 70), (70, 104), (104, 200))),
     rf"{A}: fragment 0 is \[0, 70\), expected \[0, 73\) as the video's list with the digest sha256:\w+ has it: make"),
    ("seconds", entry(fragments=ranges((0, 3), (3, 4), (4, 8))),
     f"{A}: the last end is 8, and 200 frames at 25 per second are 8.0 seconds, so these are seconds: multiply them by the"),
    ("parts of seconds", entry(fragments=ranges((0, 2.92), (2.92, 4.16), (4.16, 8))),
     f"{A}: fragment 0 has the edge 2.92, which is no whole number: give frames, and multiply by the frame rate what"),
    ("unknown video", {**entry(), "video": "aa"}, r"the video 'aa' is unknown.*; expected one of a: name each by its id"),
    ("unknown unit", entry(unit="shot"), f"{A}: unit is 'shot', expected one of fragment, frame, second"),
    ("other unit", entry(unit="second"), f"{A}: got 3 scores by second, expected 8, one for each second of the video"),
    ("no score", entry(fragments=part(1, score=...)), f"{A}, fragment 1: no score, expected start, end, score: add it"),
    ("score null", entry(fragments=part(1, score=None)), f"{A}, fragment 1: the score is None, expected a finite number"),
    ("score true", entry(fragments=part(1, score=True)), f"{A}, fragment 1: the score is True, expected a finite number"),
    ("score text", entry(fragments=part(1, score="0.5")), f"{A}, fragment 1: the score is '0.5', expected a finite number"),
    ("start null", entry(fragments=part(1, start=None)), f"{A}, fragment 1: the start is None, expected a finite number"),
    ("weight", entry(fragments=part(1, scores=1)), f"{A}, fragment 1: the key 'scores' is unknown; did you mean 'score'"),
    ("a number", entry(fragments=[1]), f"{A}, fragment 0: got 1, expected an object with start, end, score"),
    ("no fragment", entry(fragments=[]), rf"{A}: fragments is \[\], expected a list of at least one {{start, end, score}}"),
    ("fragments a number", entry(fragments=3), f"{A}: fragments is 3, expected a list"),
    ("no fragments", {"video": "a"}, "entry 0: no fragments, expected video, fragments: add it"),
    ("no video", {"fragments": []}, "entry 0: no video, expected video, fragments: add it"),
    ("video a number", {**entry(), "video": 3}, "entry 0: the video is 3, expected its id, a text"),
    ("unknown key", entry(explanadum="class"), "entry 0: the key 'explanadum' is unknown; did you mean 'explanandum'"),
    ("nothing", [], "an empty list, expected an object with video and fragments for each video"),
    ("a text", "a", "entry 0: got 'a', expected an object with video, fragments"),
    ("explanandum", entry(explanandum="score"), f"{A}: explanandum is 'score', expected one of class, frame-score, mean-score"),
    ("signed", entry(signed=1), f"{A}: signed is 1, expected one of true, false"),
    ("inclusive yes", entry(inclusive="yes"), f"{A}: inclusive is 'yes', expected one of true, false"),
    ("no frame", entry(n_frames=0), f"{A}: n_frames is 0, expected the number of frames of the video, at least 1"),
    ("n_frames", entry(n_frames=201), f"{A}: n_frames is 201, and the video has 200 frames: make the scores for this copy"),
    ("fps none", entry(fps=0), f"{A}: fps is 0, expected frames per second, above 0"),
    ("fps", entry(fps=30), f"{A}: fps is 30, and the video has 25 frames per second: make the scores for this copy"),
]


@pytest.mark.parametrize(("document", "said"), [case[1:] for case in OF_JSON], ids=[case[0] for case in OF_JSON])
def test_json_that_is_not_good_is_refused(document: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(VxpError, match=rf"^{re.escape(str(tmp_path))}/s\.json(,|:) {said}"):
        fragment_files.read(as_json(tmp_path / "s.json", document), one())


@pytest.mark.parametrize(("text", "said"), [
    ('{"video": "a", "fragments": [{"start": 0, "end": 200, "score": NaN}]}', "/fragments/0/score.*NaN.*finite number"),
    ('{"video": "a", "video": "b", "fragments": []}', "key.*video.*more than once"), ('{"video": ', "well-formed JSON"),
    ("", "well-formed JSON")])
def test_json_is_read_strictly(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(VxpError, match=rf"(?s)s\.json: .*{said}"):
        fragment_files.read(tmp_path / "s.json", one())


def other(i: int, row: str) -> Callable[[list[str]], list[str]]:
    return lambda given_: [*given_[:i], row, *given_[i + 1 :]]


OF_CSV: list[tuple[str, Callable[[list[str]], list[str]], str, str]] = [
    ("no column", lambda given_: given_, "video,start,end", "the column score is there 0 times, expected the columns"),
    ("column twice", lambda given_: given_, "video,start,end,end", "the column end is there 2 times, expected the columns"),
    ("unknown column", lambda given_: given_, "video,start,end,scor", "the column 'scor' is unknown; did you mean 'score'"),
    ("no row", lambda given_: [], "", "no row in it, expected one per part of a video"),
    ("NaN", other(1, "a,73,104,nan"), "", "line 3: the score is 'nan', expected a finite number: leave no score out"),
    ("infinite", other(1, "a,73,104,-inf"), "", "line 3: the score is '-inf', expected a finite number"),
    ("empty", other(1, "a,73,104,"), "", "line 3: the score is '', expected a finite number"),
    ("underscore", other(1, "a,73,1_04,1"), "", "line 3: the end is '1_04', expected a finite number"),
    ("short row", other(1, "a,73,104"), "", r"line 3: 3 values, expected 4 \(video,start,end,score\)"),
    ("no video", other(1, ",73,104,1"), "", "line 3: no video, expected the id of a video"),
    ("unknown video", other(1, "x,73,104,1"), "", "the video 'x' is unknown; expected one of a, b/c: name each by its id"),
    ("absent video", lambda given_: given_[:3], "", r"1 of 2 videos have no scores \(b/c\), expected scores of every video"),
    ("overlap", other(1, "a,70,104,1"), "", r"video 'a': fragments 0 and 1 overlap in the frames \[70, 73\)"),
    ("order", lambda given_: [given_[1], given_[0], *given_[2:]], "", "video 'a': fragment 1 starts at 0, before fragment 0"),
    ("gap", other(4, "b/c,33,60,1"), "", r"video 'b/c': the frames \[30, 33\) lie in no fragment"),
    ("parts", other(4, "b/c,30.5,60,1"), "", "video 'b/c': fragment 1 has the edge 30.5, which is no whole number"),
    ("length", lambda given_: [*given_[:3], "b/c,0,60,1"], "", "video 'b/c': got 1 scores by fragment, expected 2, one for"),
    ("a quote", other(1, 'a,73,104,"1'), "", "expected a CSV file in UTF-8"),
]


@pytest.mark.parametrize(("change", "head", "said"), [case[1:] for case in OF_CSV], ids=[case[0] for case in OF_CSV])
def test_csv_that_is_not_good_is_refused(
    change: Callable[[list[str]], list[str]], head: str, said: str, tmp_path: Path
) -> None:
    file = as_csv(tmp_path / "s.csv", change(rows()), head or "video,start,end,score")
    with pytest.raises(VxpError, match=rf"(?s)^{re.escape(str(file))}(,|:) .*{said}"):
        fragment_files.read(file, VIDEOS)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VxpError, match=r"s\.txt: expected scores of fragments in a file that ends in \.json or \.csv"):
        fragment_files.read(tmp_path / "s.txt", VIDEOS)
    with pytest.raises(VxpError, match=r"s\.csv: no such file, expected scores of fragments in JSON or CSV"):
        fragment_files.read(tmp_path / "s.csv", VIDEOS)
    (tmp_path / "s.csv").write_bytes(b"video,start,end,score\n\xff,0,200,1\n")
    with pytest.raises(VxpError, match=r"s\.csv: 'utf-8' codec .*, expected a CSV file in UTF-8"):
        fragment_files.read(tmp_path / "s.csv", VIDEOS)


def test_a_video_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VxpError, match="the video 'a' is there 2 times, expected it once: leave one"):
        fragment_files.read(as_json(tmp_path / "s.json", entry(), entry("b/c"), entry()), VIDEOS)


@pytest.mark.parametrize(("key", "one_", "other_"), [
    ("signed", True, False), ("explanandum", "class", "mean-score"), ("explanandum", "class", None)])
def test_one_file_is_of_one_method(key: str, one_: Any, other_: Any, tmp_path: Path) -> None:
    said = {} if other_ is None else {key: other_}
    got = ", ".join(sorted(map(str, (one_, other_))))
    with pytest.raises(VxpError, match=f"the {key} differs between videos, got {got}, expected one for the whole file"):
        fragment_files.read(as_json(tmp_path / "s.json", entry(**{key: one_}), entry("b/c", **said)), VIDEOS)


def test_seconds_of_a_video_without_a_rate_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VxpError, match=r"video 'b/c': scores by second were asked for, and the frames per second .* not known"):
        fragment_files.read(as_json(tmp_path / "s.json", entry("b/c", unit="second")), {"b/c": VIDEOS["b/c"]})
