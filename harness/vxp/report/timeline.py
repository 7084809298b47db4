"""Scores of the parts of a video as a picture: its shots, what the model says of its frames, and what each explanation says."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]
Segments = Sequence[Sequence[int]]

W, LEFT, RIGHT = 960, 168, 20
"""Width of the picture, and of the margins beside the axis of time."""
ROW, GAP, SHOTS = 44, 10, 54
"""Heights of a row, between rows, and of the pictures of the shots."""
MARKED = 3
"""Parts of the largest score that have their place written into them."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """A video: its frames and their rate, its shots with a picture of each where there are pictures, and the scores of the
    frames that the model looks at."""

    frames: int
    fps: float | None
    fragments: Segments
    steps: Sequence[int]
    scores: Sequence[float]

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Timeline:
        """As the gallery keeps it."""
        return cls(int(facts["frames"]), facts.get("fps"), facts["fragments"], facts["steps"], facts["scores"])

    def across(self, frame: float) -> float:
        """Where a frame lies on the axis."""
        return LEFT + frame / self.frames * (W - LEFT - RIGHT)


@dataclass(frozen=True, eq=False)
class Row:
    """What an explanation says: a score per part [K], and the parts; or in words why there is none."""

    name: str
    reference: bool
    values: Floats
    segments: Segments
    words: str = ""


def svg(title: str, video: Timeline, shots: Image.Image | None, rows: Sequence[Row]) -> str:
    """The picture. shots: pictures of the shots side by side, each as wide as high."""
    parts: list[str] = []
    y = 4.0
    if shots is not None:
        parts += _pictures(video, shots, y)
        y += SHOTS + GAP
    parts += _scores(video, y)
    y += ROW + GAP
    for row in rows:
        parts += _row(video, row, y)
        y += ROW + GAP
    # shots are told apart by lines through all rows
    lines = [f'<line class="grid" x1="{video.across(start):.1f}" x2="{video.across(start):.1f}" y1="4" y2="{y - GAP:.0f}"/>'
             for start, _ in video.fragments[1:]]
    axis = _axis(video, y)
    return "".join([f'<svg viewBox="0 0 {W} {y + 26:.0f}" role="img" aria-label="{escape(title)}">', *lines, *parts, *axis,
                    "</svg>"])


def _pictures(video: Timeline, shots: Image.Image, y: float) -> list[str]:
    """Of every shot its middle frame, as wide as the shot is long allows."""
    side, found = shots.height, []
    for k, (start, end) in enumerate(video.fragments):
        room = video.across(end) - video.across(start) - 2
        frame = shots.crop((k * side, 0, (k + 1) * side, side))
        # of a short shot the middle of its picture
        wide = max(1, min(side, round(side * room / SHOTS)))
        left = (side - wide) // 2
        frame = frame.crop((left, 0, left + wide, side))
        buffer = io.BytesIO()
        frame.save(buffer, "JPEG", quality=82)
        uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        shown = min(room, SHOTS)
        at = video.across(start) + 1 + (room - shown) / 2
        found.append(f'<image href="{uri}" x="{at:.1f}" y="{y:.0f}" width="{shown:.1f}" height="{SHOTS}" '
                     f'preserveAspectRatio="xMidYMid slice"><title>shot {k + 1}, frames {start} to {end - 1}</title></image>')
    return found


def _scores(video: Timeline, y: float) -> list[str]:
    """What the model says of the frames that it looks at, from the lowest score to the highest."""
    scores = np.asarray(video.scores, float)
    low, high = (float(np.nanmin(scores)), float(np.nanmax(scores))) if np.isfinite(scores).any() else (0.0, 1.0)
    ends = [*video.steps[1:], video.frames]
    points: list[str] = []
    for start, end, score in zip(video.steps, ends, scores, strict=True):
        level = y + ROW - (0.0 if high == low else (score - low) / (high - low)) * ROW
        points += [f"{video.across(start):.1f},{level:.1f}", f"{video.across(end):.1f},{level:.1f}"]
    return [_label("model's scores", f"{low:.2f} to {high:.2f}", y),
            f'<polyline class="said" points="{" ".join(points)}" fill="none"/>']


def _row(video: Timeline, row: Row, y: float) -> list[str]:
    name, _, setting = row.name.partition("|")
    if row.words:
        return [_label(name, row.words, y)]
    top = float(np.abs(row.values).max()) or 1.0
    signed = bool((row.values < 0).any())
    zero = y + (ROW / 2 if signed else ROW)
    tall = ROW / 2 if signed else ROW
    order = np.argsort(-row.values, kind="stable")[:MARKED]
    place = {int(k): str(n + 1) for n, k in enumerate(order) if row.values[k] > 0}
    found = [_label(name, setting.replace("explanandum:", ""), y),
             f'<line class="grid" x1="{LEFT}" x2="{W - RIGHT}" y1="{zero:.1f}" y2="{zero:.1f}"/>']
    for k, ((start, end), value) in enumerate(zip(row.segments, row.values.tolist(), strict=True)):
        x, high = video.across(start), abs(value) / top * tall
        kind = "against" if value < 0 else "reference-for" if row.reference else "for"
        wide = max(video.across(end) - x - 1.5, 0.8)
        at = zero if value < 0 else zero - high
        found.append(f'<rect class="{kind}" x="{x + 0.75:.1f}" y="{at:.1f}" width="{wide:.1f}" height="{max(high, 0.6):.1f}">'
                     f'<title>{escape(row.name)}, frames {start} to {end - 1}: {value:.4g}</title></rect>')
        if k in place and wide > 10:
            # inside of a bar that is high enough, else above it
            kind, level = ("rank", at + 12) if high >= 15 else ("rank above", at - 3)
            found.append(f'<text class="{kind}" x="{x + wide / 2 + 0.75:.1f}" y="{level:.1f}" text-anchor="middle">'
                         f'{place[k]}</text>')
    return found


def _label(name: str, words: str, y: float) -> str:
    second = f'<text class="tick" x="{LEFT - 10}" y="{y + 34:.0f}" text-anchor="end">{escape(words)}</text>' if words else ""
    return f'<text class="name" x="{LEFT - 10}" y="{y + 20:.0f}" text-anchor="end">{escape(name)}</text>{second}'


def _axis(video: Timeline, y: float) -> list[str]:
    """Ticks at round numbers of seconds, or of frames where the rate is not known."""
    per = video.fps or 1.0
    length = video.frames / per
    step = next(s for s in (m * 10.0**e for e in range(7) for m in (1, 2, 5)) if length / s <= 10)
    unit = "s" if video.fps else ""
    count = int(length / step + 1e-9) + 1
    ticks = [f'<text class="tick" x="{video.across(k * step * per):.1f}" y="{y + 6:.0f}" text-anchor="middle">'
             f'{k * step:g}{" " + unit if unit else ""}</text>' for k in range(count)]
    return [*ticks, f'<text class="axis" x="{(W + LEFT - RIGHT) / 2}" y="{y + 22:.0f}" text-anchor="middle">'
                    f'{"time" if video.fps else "frame"}</text>']


__all__ = ["Row", "Timeline", "svg"]
