"""The report's pictures: overlays of maps on images, and curves with bands, all as data in the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
    from matplotlib import colormaps  # loads when a picture is drawn

    grid = Image.fromarray(np.nan_to_num(values.astype(np.float32)), mode="F")
    scaled = np.asarray(grid.resize(photo.size, Image.Resampling.BILINEAR), float)
    if signed:
        top = float(np.quantile(np.abs(scaled), 0.99)) or float(np.abs(scaled).max()) or 1.0
        scaled = (scaled / top).clip(-1, 1)
        level, strength = (scaled + 1) / 2, np.abs(scaled)
        colours = colormaps["RdBu_r"](level)[..., :3]
    else:
        width = scaled.max() - scaled.min()
        level = (scaled - scaled.min()) / width if width else np.zeros_like(scaled)
        strength, colours = level, colormaps["inferno"](level)[..., :3]
    grey = np.asarray(photo.convert("L"), float)[..., None] / 255
    weight = (0.45 + 0.45 * strength)[..., None]
    mixed = (1 - weight) * grey + weight * colours
    return Image.fromarray((mixed.clip(0, 1) * 255).astype(np.uint8))


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
