"""The report's pictures: overlays of maps on images, and curves with bands, all as data in the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float64]

SIDE = 168
COLOURS = ("#2f6fb2", "#c8553d", "#3f8f5b", "#8a5aa8", "#b8860b", "#2a9d9d", "#c2577f", "#6b6b2f", "#4d4dbf", "#a0522d")
CEILINGS = (0.04, 0.08, 0.2, 0.4, 0.6, 0.8, 1.0)
DASHES = ("", "7 3", "2 3", "9 3 2 3", "1 5")


def data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def small(png: bytes) -> Image.Image:
    """A thumbnail in the image's own proportions."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return image.resize((SIDE, max(1, round(SIDE * image.height / image.width))), Image.Resampling.LANCZOS)


def overlay(photo: Image.Image, values: NDArray[np.float32], signed: bool) -> Image.Image:
    """The map over the grey image. Unsigned: inferno, from the map's minimum to its maximum; signed: a diverging map,
    symmetric about 0 to the 99th percentile of the absolute values (a few pixels would hide all others)."""
    return overlays([photo], values[None], signed)[0]


def overlays(
    frames: Sequence[Image.Image], values: NDArray[np.float32], signed: bool, labels: NDArray[np.int64] | None = None,
) -> list[Image.Image]:
    """The same for the frames of a clip and its map [t, h, w], on one scale; of another number of steps the nearest one.
    labels: of regions their numbers, which are outlined."""
    from matplotlib import colormaps  # loads when a picture is drawn

    scaled = np.stack([_resized(values[t], frame.size)
                       for t, frame in zip(_steps(len(values), len(frames)), frames, strict=True)])
    if signed:
        top = float(np.quantile(np.abs(scaled), 0.99)) or float(np.abs(scaled).max()) or 1.0
        scaled = (scaled / top).clip(-1, 1)
        level, strength = (scaled + 1) / 2, np.abs(scaled)
        colours = colormaps["RdBu_r"](level)[..., :3]
    else:
        width = scaled.max() - scaled.min()
        level = (scaled - scaled.min()) / width if width else np.zeros_like(scaled)
        strength, colours = level, colormaps["inferno"](level)[..., :3]
    grey = np.stack([np.asarray(frame.convert("L"), float) for frame in frames])[..., None] / 255
    weight = (0.45 + 0.45 * strength)[..., None]
    mixed = (1 - weight) * grey + weight * colours
    shown = [Image.fromarray((one.clip(0, 1) * 255).astype(np.uint8)) for one in mixed]
    if labels is None:
        return shown
    return [outlined(one, labels[t]) for one, t in zip(shown, _steps(len(labels), len(frames)), strict=True)]


RANKED = 3
"""Regions of the largest scores that have their rank written into them."""


def split(values: NDArray[np.float32], kind: str) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """The map of an explanation, and of regions the number of the region at every position."""
    return (values[1], values[0].astype(np.int64)) if kind in ("regions", "regions3d") else (values, None)


def regions(photo: Image.Image, values: NDArray[np.float32], labels: NDArray[np.int64], signed: bool) -> Image.Image:
    """The scores of regions over the grey image, every region outlined, the first ones with their rank."""
    shown = outlined(overlay(photo, values, signed), labels)
    scores = {int(k): float(values[labels == k][0]) for k in np.unique(labels) if k >= 0}
    draw = ImageDraw.Draw(shown)
    for rank, number in enumerate(sorted(scores, key=lambda k: (-scores[k], k))[:RANKED], start=1):
        rows, columns = np.nonzero(labels == number)
        at = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)  # inside, also of a region with a hole
        place = (columns[at] + 0.5) / labels.shape[1] * shown.width, (rows[at] + 0.5) / labels.shape[0] * shown.height
        draw.text(place, str(rank), fill="white", stroke_fill="black", stroke_width=2, anchor="mm", font_size=shown.width // 10)
    return shown


def outlined(image: Image.Image, labels: NDArray[np.int64]) -> Image.Image:
    """The image with a line where the region changes."""
    height, width = image.height, image.width
    rows, columns = (np.arange(n) * size // n for n, size in ((height, labels.shape[0]), (width, labels.shape[1])))
    of = labels[np.ix_(rows, columns)]
    edge = np.zeros(of.shape, bool)
    edge[:-1] |= of[:-1] != of[1:]
    edge[:, :-1] |= of[:, :-1] != of[:, 1:]
    pixels = np.asarray(image.convert("RGB")).copy()
    pixels[edge] = 255
    return Image.fromarray(pixels)


def _resized(values: NDArray[np.float32], size: tuple[int, int]) -> Floats:
    grid = Image.fromarray(np.nan_to_num(values.astype(np.float32)), mode="F")
    return np.asarray(grid.resize(size, Image.Resampling.BILINEAR), float)


def _steps(t: int, frames: int) -> list[int]:
    """For every frame the step of time of a map of t steps that is nearest to it."""
    return [(2 * i + 1) * t // (2 * frames) for i in range(frames)]


# --------------------------------------------------------------------------------------------------------------- clips

HEIGHT = 72
"""Pixels of a frame in a strip."""
PACE = 180
"""Milliseconds of a frame in a looping picture."""


def frames(png: bytes, n: int) -> list[Image.Image]:
    """The frames that lie side by side in a picture, of one height."""
    strip = Image.open(io.BytesIO(png)).convert("RGB")
    across = strip.width // n
    size = max(1, round(HEIGHT * across / strip.height)), HEIGHT
    return [strip.crop((k * across, 0, (k + 1) * across, strip.height)).resize(size, Image.Resampling.LANCZOS)
            for k in range(n)]


def side_by_side(some: Sequence[Image.Image]) -> Image.Image:
    """Frames in the order of time, from left to right, with a gap between them."""
    across = some[0].width
    strip = Image.new("RGB", (len(some) * (across + 2) - 2, some[0].height), "white")
    for k, frame in enumerate(some):
        strip.paste(frame, (k * (across + 2), 0))
    return strip


def looping(some: Sequence[Image.Image]) -> str:
    """Frames as a picture that plays them again and again, as a data URI."""
    buffer = io.BytesIO()
    some[0].save(buffer, "WEBP", save_all=True, append_images=list(some[1:]), duration=PACE, loop=0, quality=75)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def over_time(values: NDArray[np.float32], n: int) -> Floats:
    """The share of a clip's positive relevance that lies in each of its n frames; zeros where there is none."""
    mass = np.clip(np.nan_to_num(values.astype(float)), 0, None).reshape(len(values), -1).sum(1)[_steps(len(values), n)]
    return np.asarray(mass / mass.sum() if mass.any() else mass)


def time_svg(title: str, truth: Sequence[int], lines: Sequence[tuple[str, bool, int, Floats]]) -> str:
    """A panel of relevance over time: per line its name, whether it is a reference, its place, and its share per frame. Frames
    with truth have a ground of their own."""
    n = len(lines[0][3])
    W, H, left, right, top, bottom = 480, 190, 42, 12, 12, 34
    floor, step, parts_of_y = scale(0.0, max(float(y.max()) for *_, y in lines) or 1.0)
    wide = (W - left - right) / n
    parts = [f'<svg viewBox="0 0 {W} {H}" role="img" aria-label="{escape(title)}">']
    parts += [f'<rect class="truth" x="{left + t * wide:.1f}" y="{top}" width="{wide:.1f}" height="{H - top - bottom}"/>'
              for t in truth]
    for k in range(parts_of_y + 1):
        y = H - bottom - k / parts_of_y * (H - top - bottom)
        parts.append(f'<line class="grid" x1="{left}" x2="{W - right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<text class="tick" x="{left - 6}" y="{y + 3.5:.1f}" text-anchor="end">{floor + step * k:g}</text>')
    parts += [f'<text class="tick" x="{left + (t + 0.5) * wide:.1f}" y="{H - bottom + 14}" text-anchor="middle">{t}</text>'
              for t in range(n)]
    parts.append(f'<text class="axis" x="{(W + left - right) / 2}" y="{H - 4}" text-anchor="middle">frame</text>')
    for name, reference, place, shares in lines:
        colour, dash = style(place, reference)
        at = [f"{left + (t + 0.5) * wide:.1f},{H - bottom - min(y / (step * parts_of_y), 1) * (H - top - bottom):.1f}"
              for t, y in enumerate(shares)]
        parts.append(f'<polyline points="{" ".join(at)}" fill="none" stroke="{colour}" stroke-width="1.8" '
                     f'stroke-dasharray="{dash}"><title>{escape(name)}</title></polyline>')
    return "".join([*parts, "</svg>"])


# -------------------------------------------------------------------------------------------------------------- curves


def band(curves: Floats, clusters: Sequence[str], *, resamples: int = 200) -> tuple[Floats, Floats, Floats]:
    """Pointwise mean of curves [N, S+1], and its 2.5 and 97.5 percent bounds over resampled clusters."""
    names, where = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums = np.stack([curves[where == k].sum(0) for k in range(len(names))])
    counts = np.bincount(where, minlength=len(names)).astype(float)
    generator = np.random.Generator(np.random.Philox(0))
    times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples).astype(float)
    means = (times @ sums) / (times @ counts)[:, None]
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return curves.mean(0), low, high


def style(place: int, reference: bool) -> tuple[str, str]:
    """Colour and dash of a system's line: references grey and dashed, methods in colour."""
    if reference:
        return "#8b8f96", DASHES[(1 + place) % len(DASHES)]
    return COLOURS[place % len(COLOURS)], DASHES[(place // len(COLOURS)) % len(DASHES)]


def scale(low: float, high: float) -> tuple[float, float, int]:
    """Floor, step and number of steps of an axis that holds both: four parts of a round number where nothing is below 0 or
    above 1, else up to six round steps."""
    if low >= 0 and high <= CEILINGS[-1]:
        return 0.0, next(c for c in CEILINGS if c >= max(high, 1e-9)) / 4, 4
    rough = (high - low) / 4 or 1.0
    unit = 10.0 ** np.floor(np.log10(rough))
    step = float(next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough))
    first = np.floor(low / step)
    return float(first * step), step, int(np.ceil(high / step) - first)


def curve_svg(title: str, lines: Sequence[tuple[str, bool, int, Floats, Floats, Floats, Floats]], x_label: str) -> str:
    """A panel: per line its name, whether it is a reference, its place, x, mean, low and high."""
    W, H, left, right, top, bottom = 480, 300, 42, 12, 12, 38
    floor, step, parts_of_y = scale(min(float(np.nanmin(low)) for *_, low, _high in lines),
                                    max(float(np.nanmax(high)) for *_, high in lines))

    def at(x: Floats, y: Floats) -> list[str]:
        px = left + x * (W - left - right)
        py = H - bottom - np.clip((y - floor) / (step * parts_of_y), 0, 1) * (H - top - bottom)
        return [f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True)]

    parts = [f'<svg viewBox="0 0 {W} {H}" role="img" aria-label="{escape(title)}">']
    for k in range(parts_of_y + 1):
        y = H - bottom - k / parts_of_y * (H - top - bottom)
        parts.append(f'<line class="grid" x1="{left}" x2="{W - right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<text class="tick" x="{left - 6}" y="{y + 3.5:.1f}" text-anchor="end">{floor + step * k:g}</text>')
    for k in range(5):
        across = left + k / 4 * (W - left - right)
        parts.append(f'<text class="tick" x="{across:.1f}" y="{H - bottom + 15}" text-anchor="middle">{k / 4:g}</text>')
    parts.append(f'<text class="axis" x="{(W + left - right) / 2}" y="{H - 5}" text-anchor="middle">{escape(x_label)}</text>')
    for name, reference, place, x, mean, low, high in lines:
        colour, dash = style(place, reference)
        if not reference:
            area = at(x, high) + at(x, low)[::-1]
            parts.append(f'<polygon points="{" ".join(area)}" fill="{colour}" opacity="0.13"/>')
        parts.append(f'<polyline points="{" ".join(at(x, mean))}" fill="none" stroke="{colour}" stroke-width="1.8" '
                     f'stroke-dasharray="{dash}"><title>{escape(name)}</title></polyline>')
    return "".join([*parts, "</svg>"])
