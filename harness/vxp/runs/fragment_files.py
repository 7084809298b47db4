"""Scores of parts of videos that were made elsewhere: a JSON or CSV file, read against the videos that they are of.

JSON, one video or a list of them: {"video": id, "unit": "fragment", "fragments": [{"start": 0, "end": 73, "score": 0.4}, ...]},
and where wanted "n_frames" and "fps", which are compared with the video's, "explanandum", "signed", and "inclusive": true.
CSV: the columns video, start, end and score, a row per part.

Starts and ends are frames, counted from 0, and ends are half-open, [start, end), unless the file or its reader states
`inclusive`. The unit says what the parts are: shots (`fragment`), the steps that the model looks at (`frame`), or seconds.
Nothing is guessed: a file that looks otherwise is refused, with what it looks like.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import vxp_schemas
from vxp_schemas import typed

from vxp.catalogue import nearest
from vxp.core import VxpError
from vxp.datasets import Segments, Timeline
from vxp.documents import shots, store
from vxp.documents.findings import plain

Unit = Literal["fragment", "frame", "second"]
COLUMNS = ("video", "start", "end", "score")
KEYS = ("video", "unit", "fragments", "n_frames", "fps", "explanandum", "signed", "inclusive")
OF_A_PART = ("start", "end", "score")
SHOWN = 5
NEAR = 1 / 200
"""How far a stated frame rate may be from the video's: 29.97 is 30000/1001."""


@dataclass(frozen=True)
class FragmentScores:
    """The scores of the parts of a video, and the parts as half-open ranges of its frames. explanandum and signed as the file
    states them, None where it does not."""

    video: str
    unit: Unit
    segments: Segments
    values: tuple[float, ...]
    explanandum: typed.Explanandum | None = None
    signed: bool | None = None


@dataclass(frozen=True)
class _Given:
    """What a file says of a video, before it is compared with the video."""

    where: str
    video: str
    unit: Unit
    ranges: Sequence[tuple[float, float]]
    values: tuple[float, ...]
    inclusive: bool
    stated: Mapping[str, Any]


def read(
    path: Path, videos: Mapping[str, Timeline], *, unit: Unit = "fragment", inclusive: bool = False
) -> list[FragmentScores]:
    """The scores of a .json or .csv file for each of these videos, in their order.

    videos: how each is divided, by its id. unit: of the parts, where the file does not say. inclusive: whether ends are, where
    the file does not say. VxpError names file and video, and the line or the part, for a video that is unknown, absent or there
    twice, for ranges that are no partition of its frames or another one than the video's, and for a score that is no finite
    number.
    """
    given = _read(path, unit, inclusive)
    _check_videos(path, [one.video for one in given], list(videos))
    found = {one.video: _compared(one, videos[one.video]) for one in given}
    for key in ("unit", "explanandum", "signed"):
        said = {getattr(scores, key) for scores in found.values()}
        if len(said) > 1:
            raise VxpError(f"{path}: the {key} differs between videos, got {', '.join(sorted(map(str, said)))}, expected one "
                           "for the whole file: divide it")
    return [found[video] for video in videos]


def _read(path: Path, unit: Unit, inclusive: bool) -> list[_Given]:
    read = {".json": _json, ".csv": _csv}.get(path.suffix.lower())
    if read is None:
        raise VxpError(f"{path}: expected scores of fragments in a file that ends in .json or .csv")
    try:
        data = store.read_file(path)
    except FileNotFoundError:
        raise VxpError(f"{path}: no such file, expected scores of fragments in JSON or CSV") from None
    return read(path, data, unit, inclusive)


def _check_videos(path: Path, given: Sequence[str], known: Sequence[str]) -> None:
    """VxpError unless each of the known videos is given once."""
    for video in given:
        if video not in known:
            raise VxpError(f"{path}: the video {plain(video)!r} is unknown{nearest(video, known)}; expected one of "
                           f"{', '.join(known[:SHOWN])}{', ...' if len(known) > SHOWN else ''}: name each by its id")
        if given.count(video) > 1:
            raise VxpError(f"{path}: the video {video!r} is there {given.count(video)} times, expected it once: leave one")
    absent = [video for video in known if video not in given]
    if absent:
        raise VxpError(f"{path}: {len(absent)} of {len(known)} videos have no scores ({', '.join(absent[:SHOWN])}"
                       f"{', ...' if len(absent) > SHOWN else ''}), expected scores of every video: add them")


# ------------------------------------------------------------------------------------------------------ against the video


def _compared(given: _Given, timeline: Timeline) -> FragmentScores:
    """The scores, where what is said of the video is true of it."""
    where, stated = given.where, given.stated
    n, fps = stated.get("n_frames"), stated.get("fps")
    if n is not None and n != timeline.frames:
        raise VxpError(f"{where}: n_frames is {n}, and the video has {timeline.frames} frames: make the scores for this copy "
                       "of the video")
    if fps is not None and timeline.fps is not None and abs(fps - timeline.fps) > NEAR:
        raise VxpError(f"{where}: fps is {fps:g}, and the video has {timeline.fps:g} frames per second: make the scores "
                       "for this copy of the video")
    check = _from_inclusive if given.inclusive else shots.checked
    segments = check(given.ranges, timeline.frames, where=where, fps=timeline.fps if fps is None else fps)
    _check_parts(given, segments, timeline)
    return FragmentScores(given.video, given.unit, segments, given.values, stated.get("explanandum"), stated.get("signed"))


def _from_inclusive(
    ranges: Sequence[tuple[float, float]], n_frames: int, *, where: str, fps: shots.Rate | None
) -> Segments:
    """The half-open ranges of ranges whose ends are stated to be inclusive."""
    whole = [(int(start), int(end)) for start, end in ranges if start == int(start) and end == int(end)]
    if len(whole) < len(ranges):
        return shots.checked(ranges, n_frames, where=where, fps=fps)  # says which is no whole number
    return shots.checked_inclusive(whole, n_frames, where=where, fps=fps)


def _check_parts(given: _Given, segments: Segments, timeline: Timeline) -> None:
    """VxpError unless the ranges are the parts of the video."""
    try:
        expected = timeline.segments(given.unit)
    except VxpError as error:
        raise VxpError(f"{given.where}: {error}") from None
    if len(segments) != len(expected):
        raise VxpError(f"{given.where}: got {len(segments)} scores by {given.unit}, expected {len(expected)}, one for each "
                       f"{given.unit} of the video: make the scores for its list")
    for i, (got, wanted) in enumerate(zip(segments, expected, strict=True)):
        if got != wanted:
            raise VxpError(f"{given.where}: {given.unit} {i} is [{got[0]}, {got[1]}), expected [{wanted[0]}, {wanted[1]}) as "
                           f"the video's list with the digest {shots.digest(expected)} has it: make the scores for this list")


# ------------------------------------------------------------------------------------------------------------------ JSON


def _json(path: Path, data: bytes, unit: Unit, inclusive: bool) -> list[_Given]:
    try:
        loaded = vxp_schemas.loads(data)
    except vxp_schemas.InvalidDocument as error:
        raise VxpError(f"{path}: {error}") from None
    documents = loaded if isinstance(loaded, list) else [loaded]
    if not documents:
        raise VxpError(f"{path}: an empty list, expected an object with video and fragments for each video")
    return [_of_document(f"{path}, entry {i}", document, unit, inclusive) for i, document in enumerate(documents)]


def _of_document(where: str, document: Any, unit: Unit, inclusive: bool) -> _Given:
    _check_keys(where, document, KEYS, ("video", "fragments"))
    video = document["video"]
    if not isinstance(video, str) or not video:
        raise VxpError(f"{where}: the video is {_shown(video)}, expected its id, a text")
    where = f"{where}, video {plain(video)!r}"
    stated = {key: _stated(where, key, document[key]) for key in KEYS[1:] if key in document and key != "fragments"}
    parts = document["fragments"]
    if not isinstance(parts, list) or not parts:
        raise VxpError(f"{where}: fragments is {_shown(parts)}, expected a list of at least one {{start, end, score}}")
    ranges, values = [], []
    for i, part in enumerate(parts):
        at = f"{where}, fragment {i}"
        _check_keys(at, part, OF_A_PART, OF_A_PART)
        start, end, score = (_number(at, key, part[key]) for key in OF_A_PART)
        ranges.append((start, end))
        values.append(score)
    return _Given(where, video, stated.pop("unit", unit), ranges, tuple(values), stated.pop("inclusive", inclusive), stated)


def _check_keys(where: str, found: Any, known: Sequence[str], needed: Sequence[str]) -> None:
    if not isinstance(found, dict):
        raise VxpError(f"{where}: got {_shown(found)}, expected an object with {', '.join(needed)}")
    for key in found:
        if key not in known:
            raise VxpError(f"{where}: the key {plain(key)!r} is unknown{nearest(key, known)}; expected {', '.join(known)}")
    for key in needed:
        if key not in found:
            raise VxpError(f"{where}: no {key}, expected {', '.join(needed)}: add it")


def _stated(where: str, key: str, value: Any) -> Any:
    """What a document states, where it can be so."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    words: dict[str, tuple[Any, ...]] = {
        "unit": get_args(Unit), "explanandum": get_args(typed.Explanandum), "signed": (True, False), "inclusive": (True, False)}
    if key in words:
        good, expected = any(value is word or (value == word and isinstance(value, str)) for word in words[key]), words[key]
        wanted = f"one of {', '.join(str(word).lower() if isinstance(word, bool) else word for word in expected)}"
    elif key == "n_frames":
        good, wanted = whole and value >= 1, "the number of frames of the video, at least 1"
    else:
        good, wanted = (whole or isinstance(value, float)) and value > 0, "frames per second, above 0"
    if not good:
        raise VxpError(f"{where}: {key} is {_shown(value)}, expected {wanted}")
    return value


def _number(where: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise VxpError(f"{where}: the {key} is {_shown(value)}, expected a finite number: leave no {key} out")
    return value


def _shown(value: Any) -> str:
    text = plain(repr(value))
    return text if len(text) <= 60 else f"{text[:60]}..."


# ------------------------------------------------------------------------------------------------------------------- CSV


def _csv(path: Path, data: bytes, unit: Unit, inclusive: bool) -> list[_Given]:
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        columns = _columns(path, next(reader, []))
        found: dict[str, tuple[list[tuple[float, float]], list[float]]] = {}
        for values in reader:
            if not values:
                continue
            where = f"{path}, line {reader.line_num}"
            if len(values) != len(columns):
                raise VxpError(f"{where}: {len(values)} values, expected {len(columns)} ({','.join(columns)})")
            row = dict(zip(columns, (value.strip() for value in values), strict=True))
            if not row["video"]:
                raise VxpError(f"{where}: no video, expected the id of a video")
            start, end, score = (_parsed(where, key, row[key]) for key in OF_A_PART)
            ranges, scores = found.setdefault(row["video"], ([], []))
            ranges.append((start, end))
            scores.append(score)
    except (UnicodeDecodeError, csv.Error) as error:
        raise VxpError(f"{path}: {error}, expected a CSV file in UTF-8") from None
    if not found:
        raise VxpError(f"{path}: no row in it, expected one per part of a video")
    return [_Given(f"{path}, video {plain(video)!r}", video, unit, ranges, tuple(scores), inclusive, {})
            for video, (ranges, scores) in found.items()]


def _columns(path: Path, given: Sequence[str]) -> list[str]:
    named = [column.strip() for column in given]
    for column in named:
        if column not in COLUMNS:
            raise VxpError(f"{path}: the column {plain(column)!r} is unknown{nearest(column, COLUMNS)}; expected "
                           f"{', '.join(COLUMNS)}")
    for column in COLUMNS:
        if named.count(column) != 1:
            raise VxpError(f"{path}: the column {column} is there {named.count(column)} times, expected the columns "
                           f"{', '.join(COLUMNS)}, each once")
    return named


def _parsed(where: str, key: str, value: str) -> float:
    try:
        found = float(value.replace("_", " "))  # Python reads 1_000
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise VxpError(f"{where}: the {key} is {_shown(value)}, expected a finite number: leave no {key} out")
    return found


__all__ = ["COLUMNS", "KEYS", "FragmentScores", "Unit", "read"]
