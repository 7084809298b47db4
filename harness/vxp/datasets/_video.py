"""Reading video files with PyAV, frame by frame: what a file is, the digest of its planes, and single frames as RGB.

Nothing of a file is guessed silently (clause [clip-file]): frames that do not come at one even rate, planes of another kind
than 8-bit YUV, a stream that changes on its way and a file that ends too early are refused.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vxp.datasets._types import Recipe
from vxp.datasets._yuv import Plane, rgb
from vxp.errors import VxpError

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".ogv", ".y4m"})
CONTAINERS = "mov,matroska,webm,avi,mpeg,mpegts,ogg,yuv4mpegpipe"
"""FFmpeg's names of what is read: none that plays text, single images or lists of other files."""
PLANES = frozenset({"yuv420p", "yuv422p", "yuv440p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj440p", "yuvj444p", "gray"})
"""FFmpeg's names of the kinds of planes that are read; a j and grey mean full range."""
STRICT = {"err_detect": "crccheck+bitstream+buffer+explode", "flags": "+bitexact", "idct": "simple"}
"""Decoders stop at what is damaged instead of painting over it, and compute the same on every machine."""
MATRIX = {1: "bt709", 5: "bt601", 6: "bt601"}
"""By the code of ITU-T H.273; BT.470BG and SMPTE 170M have the matrix of BT.601."""
UNSPECIFIED = 2
LEVELS = {1: "limited", 2: "full"}
LARGEST_SD = 576
"""Rows up to which a stream that does not name its matrix has that of BT.601, and beyond it BT.709."""
UNEVEN = Fraction(1, 4)
"""How far, in frames, a frame may lie from its even place; containers round times to their own ticks."""

Range = tuple[int, int]
"""A half-open range of frames."""


@dataclass(frozen=True)
class Format:
    """How the frames of a stream are to be read; turns are quarter turns to the left."""

    planes: str
    width: int
    height: int
    matrix: str
    levels: str
    turns: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as it is seen."""
        return (self.width, self.height) if self.turns % 2 == 0 else (self.height, self.width)


@dataclass(frozen=True)
class Video:
    """A file that was decoded to its end: its frames, frames per second, and the digests of ranges of frames."""

    format: Format
    frames: int
    rate: Fraction
    digests: Mapping[tuple[int, int | None], str]


def surveyed(path: Path, ranges: Iterable[tuple[int, int | None]] = ((0, None),)) -> Video:
    """Decode a whole file. The digest of a range is `sha256:` of the planes of its frames one after the other, rows without
    padding; an end of None is the file's.

    VxpError for what is no video, cannot be read whole, or does not keep one format and one frame rate.
    """
    hashers = {wanted: hashlib.sha256() for wanted in ranges}
    times: list[Fraction] = []
    format = None
    with _opened(path) as (container, stream):
        for frame in _frames(path, container, stream):
            format = _same(path, format, _format(path, frame), len(times))
            planes = _planes(frame)
            for (start, end), hasher in hashers.items():
                if start <= len(times) and (end is None or len(times) < end):
                    _hash(hasher, planes)
            times.append(_time(path, frame))
        if format is None:
            raise VxpError(f"{path}: a video without a frame, expected frames: replace it by a sound copy")
        rate = _rate(path, times, stream.average_rate)
        _check_whole(path, container, stream, len(times), rate)
    return Video(format, len(times), rate, {wanted: f"sha256:{hasher.hexdigest()}" for wanted, hasher in hashers.items()})


def read(path: Path, format: Format, within: Range, wanted: Sequence[int]) -> tuple[list[Plane], str]:
    """The wanted frames, in ascending order and in the range, upright as uint8 [H, W, 3], and the digest of the range."""
    hasher, found = hashlib.sha256(), []
    with _opened(path) as (container, stream):
        for number, frame in zip(range(within[1]), _frames(path, container, stream), strict=False):
            if number >= within[0]:
                planes = _planes(frame)
                _hash(hasher, planes)
                if number in wanted:
                    found.append(np.rot90(rgb(planes, format.matrix, format.levels), format.turns))
    return found, f"sha256:{hasher.hexdigest()}"


# ------------------------------------------------------------------------------------------------------------- the decoder


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise VxpError(f"clips are read with PyAV, which is not installed ({error}): pip install 'vxp[video]'") from None
    return av


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream; what FFmpeg says of a damaged file becomes a VxpError that names it."""
    av = _av()
    if not path.is_file():
        raise VxpError(f"{path}: no such file, expected a video")
    if not path.stat().st_size:
        raise VxpError(f"{path}: an empty file of 0 bytes, expected a video: replace it by a sound copy")
    with path.open("rb") as file:  # the file itself: FFmpeg takes a name for an address
        try:
            container = av.open(file, options={"format_whitelist": CONTAINERS, "protocol_whitelist": "pipe"})
        except av.FFmpegError as error:
            raise VxpError(f"{path}: not a video that can be read ({_said(error)}), expected a whole file of one of "
                           f"{', '.join(sorted(SUFFIXES))}: replace it by a sound copy, or convert it") from None
        with container:
            yield container, _stream(av, path, container)


def _stream(av: Any, path: Path, container: Any) -> Any:
    """The first video stream that is no picture of a cover, set to stop at damage."""
    cover = av.stream.Disposition.attached_pic
    moving = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not moving:
        others = " and ".join(sorted({"a cover" if s.type == "video" else s.type for s in container.streams})) or "nothing"
        raise VxpError(f"{path}: no video in it but {others}, expected moving pictures: leave it out")
    moving[0].codec_context.options = STRICT
    moving[0].codec_context.thread_count = 1  # the order of threads decides nothing
    return moving[0]


def _frames(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """The frames in the order in which they are shown."""
    number = 0
    try:
        for packet in container.demux(stream):
            for frame in packet.decode():
                if packet.is_corrupt or frame.is_corrupt:
                    raise _damaged(path, number, "the container marks it as damaged")
                yield frame
                number += 1
    except _av().FFmpegError as error:
        raise _damaged(path, number, _said(error)) from None


def _damaged(path: Path, number: int, why: str) -> VxpError:
    return VxpError(f"{path}: damaged or cut off: frame {number} cannot be decoded ({why}), expected a whole file: replace it "
                    "by a sound copy")


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)


# ------------------------------------------------------------------------------------------------------------ one frame


def _format(path: Path, frame: Any) -> Format:
    planes, matrix, levels = str(frame.format.name), int(frame.colorspace), int(frame.color_range)
    if planes not in PLANES:
        raise VxpError(f"{path}: planes of the kind {planes}, expected 8-bit YUV, such as yuv420p: convert it, ffmpeg -i IN "
                       "-pix_fmt yuv420p OUT")
    if matrix not in (*MATRIX, UNSPECIFIED) and planes != "gray":
        raise VxpError(f"{path}: colours by the matrix {matrix} of ITU-T H.273, expected BT.601 or BT.709: convert it, ffmpeg "
                       "-i IN -vf scale=out_color_matrix=bt709 -colorspace bt709 OUT")
    if int(frame.rotation) % 90:
        raise VxpError(f"{path}: turned by {frame.rotation} degrees, expected a quarter turn: convert it with ffmpeg")
    full = planes.startswith("yuvj") or (planes == "gray" and levels not in LEVELS)
    assumed = "bt601" if frame.height <= LARGEST_SD else "bt709"
    return Format(planes, frame.width, frame.height, MATRIX.get(matrix, assumed),
                  "full" if full else LEVELS.get(levels, "limited"), int(frame.rotation) // 90 % 4)


def _same(path: Path, before: Format | None, now: Format, number: int) -> Format:
    if before is not None and now != before:
        raise VxpError(f"{path}: frame {number} is {now.planes} {now.width} x {now.height} {now.matrix} {now.levels}, the "
                       f"frames before it {before.planes} {before.width} x {before.height} {before.matrix} {before.levels}: "
                       "expected one format for the whole clip: convert it with ffmpeg")
    return now


def _planes(frame: Any) -> list[Plane]:
    """Y, U and V, or Y alone, without the padding of rows."""
    return [np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width] for plane in frame.planes]


def _hash(hasher: Any, planes: Sequence[Plane]) -> None:
    for plane in planes:
        hasher.update(np.ascontiguousarray(plane))


def _time(path: Path, frame: Any) -> Fraction:
    if frame.pts is None or not frame.time_base:
        raise VxpError(f"{path}: frames without times, expected a container that says when each is shown, such as mp4: convert "
                       "it, ffmpeg -r RATE -i IN OUT.mp4")
    return Fraction(frame.pts) * Fraction(frame.time_base)


# -------------------------------------------------------------------------------------------------------- the whole file


def _rate(path: Path, times: Sequence[Fraction], declared: Fraction | None) -> Fraction:
    """Frames per second: what the file declares, where its frames keep to it, else what they show."""
    steps, span = len(times) - 1, times[-1] - times[0]
    if steps == 0 and declared:
        return Fraction(declared)
    if span <= 0:
        raise VxpError(f"{path}: {len(times)} frames within {float(span):g} seconds, expected times that grow: convert it, "
                       "ffmpeg -i IN -vf fps=RATE OUT")
    shown = steps / span
    away = [abs((time - times[0]) * shown - k) for k, time in enumerate(times)]
    if max(away) > UNEVEN:
        k = away.index(max(away))
        raise VxpError(f"{path}: a variable frame rate (frame {k} lies {float(away[k]):.2f} frames from its place at an even "
                       f"{float(shown):.3f} frames per second), expected a constant one: convert it, ffmpeg -i IN -vf fps=RATE "
                       "OUT")
    if declared and abs(span * declared - steps) <= UNEVEN:
        return Fraction(declared)
    return shown.limit_denominator(1001)


def _check_whole(path: Path, container: Any, stream: Any, frames: int, rate: Fraction) -> None:
    """VxpError where the container promises more frames than it gives."""
    promised = int(stream.frames)
    if not promised:  # of a duration one may lack
        promised = math.floor(_seconds(container, stream) * rate + Fraction(1, 2)) - 1
    if frames < promised:
        raise VxpError(f"{path}: {frames} frames, expected {promised} by its own header: it is cut off, or an edit list hides "
                       "some; replace it by a sound copy, or write it anew: ffmpeg -i IN OUT")


def _seconds(container: Any, stream: Any) -> Fraction:
    """How long the stream is by its own tag, or by the container's header, which covers sound too; 0 where neither says."""
    tag = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))
    if tag is not None:
        return 3600 * Fraction(tag[1]) + 60 * Fraction(tag[2]) + Fraction(tag[3])
    return Fraction(container.duration or 0, 1_000_000) if len(container.streams) == 1 else Fraction(0)


def recipe(video: Video, within: Range, digest: str) -> Recipe:
    """The facts of a clip that are frozen, as JSON."""
    width, height = video.format.size
    return {"planes_sha256": digest.removeprefix("sha256:"), "range": list(within), "frames": video.frames, "width": width,
            "height": height, "rate": str(video.rate), "planes": video.format.planes, "matrix": video.format.matrix,
            "levels": video.format.levels, "turns": video.format.turns}


def format_of(facts: Recipe) -> Format:
    """The format that `recipe` wrote."""
    turned = facts["turns"] % 2 == 1
    width, height = (facts["height"], facts["width"]) if turned else (facts["width"], facts["height"])
    return Format(facts["planes"], width, height, facts["matrix"], facts["levels"], facts["turns"])


__all__ = ["SUFFIXES", "Format", "Range", "Video", "format_of", "read", "recipe", "surveyed"]
