"""Curves of the scores that average one: mean over items with a pointwise band, as coordinates of an inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np

from vxp.core import VxpError
from vxp.report.folder import Entry, Floats, Run
from vxp.report.scores import Column, columns, role

WIDTH, HEIGHT = 380, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 38
"""Margins that hold the axes' numbers and labels."""
Z = 1.96
COLOURS = 8
"""Colours that the style sheet has; after them the dashes tell the lines apart."""
DASHES = ("", "7 3", "2 3", "9 3 2 3")
X_LABELS = {"deletion": "fraction removed, most relevant first", "insertion": "fraction inserted, most relevant first",
            "road-morf": "fraction removed, most relevant first", "road-lerf": "fraction removed, least relevant first"}


@dataclass(frozen=True)
class Style:
    """How an explainer is drawn in all panels: a class of the style sheet and a dash pattern."""

    label: str
    role: str
    colour: str
    dash: str


@dataclass(frozen=True)
class Line:
    """One explainer's mean curve and band as SVG coordinates."""

    style: Style
    points: str
    band: str


@dataclass(frozen=True)
class Tick:
    """A place on an axis in SVG units, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Panel:
    """The curves of one score."""

    column: Column
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT
    box: tuple[int, int, int, int] = (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)

    @property
    def alt(self) -> str:
        return (f"Mean curves of {self.column.title}: {self.y_label} over {self.x_label}, for "
                + ", ".join(line.style.label for line in self.lines))


def styles(entries: Sequence[Entry]) -> dict[str, Style]:
    """Colours for explainers, greys for references; beyond the colours the next dash begins."""
    found, counts = {}, {False: 0, True: 0}
    for entry in entries:
        i = counts[entry.reference]
        counts[entry.reference] += 1
        if entry.reference:
            style = Style(entry.label, role(entry.document["explainer"]), "ref", DASHES[(i + 1) % len(DASHES)])
        else:
            style = Style(entry.label, "", f"c{i % COLOURS}", DASHES[(i // COLOURS + i) % len(DASHES)])
        found[entry.label] = style
    return found


def panels(run: Run) -> list[Panel]:
    """A panel per score that has curves."""
    looks = styles(run.entries)
    found = []
    for cols in columns([e.document for e in run.entries]).values():
        for column in cols:
            drawn = {e.label: _mean_curve(e, column.signature, run.clusters) for e in run.entries if column.signature in e.curves}
            kept = {label: curve for label, curve in drawn.items() if curve is not None}
            if kept:
                found.append(_panel(column, kept, looks))
    return found


@dataclass(frozen=True, eq=False)
class MeanCurve:
    """x, mean and half width of the band [S+1]; the band is NaN where there are fewer than two clusters."""

    x: Floats
    mean: Floats
    half: Floats


def _mean_curve(entry: Entry, signature: str, clusters: Sequence[str]) -> MeanCurve | None:
    """The mean over the items that have a score; None where no item has one."""
    curve = entry.curves[signature].double().numpy()
    x = entry.curves.get(f"{signature}#x")
    if x is None or curve.ndim != 2 or curve.shape != (len(clusters), len(x)):
        raise VxpError(f"{entry.root / entry.document['curves']['path']}: the curve of {signature} has shape {curve.shape}, "
                       f"expected [{len(clusters)} items, steps] with x of the same steps")
    usable = np.isfinite(entry.values(signature)) & np.isfinite(curve).all(1)
    if not usable.any():
        return None
    mean, error = clustered(curve[usable], [c for c, keep in zip(clusters, usable, strict=True) if keep])
    return MeanCurve(x.double().numpy(), mean, Z * error)


def clustered(curve: Floats, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """Mean [S+1] over the items of curves [N, S+1] and its cluster-robust standard error (linearised ratio)."""
    names, where = np.unique(np.asarray(clusters), return_inverse=True)
    g, n = len(names), len(curve)
    sums = np.zeros((g, curve.shape[1]))
    np.add.at(sums, where, curve)
    mean = sums.sum(0) / n
    if g < 2:
        return mean, np.full_like(mean, np.nan)
    rest = sums - np.bincount(where, minlength=g)[:, None] * mean
    return mean, np.sqrt(g / (g - 1) * (rest**2).sum(0)) / n


def _panel(column: Column, curves: Mapping[str, MeanCurve], looks: Mapping[str, Style]) -> Panel:
    lowest = min(float(np.nanmin(np.fmin(c.mean - c.half, c.mean))) for c in curves.values())
    highest = max(float(np.nanmax(np.fmax(c.mean + c.half, c.mean))) for c in curves.values())
    # what is averaged is a probability or a share, so a band never leaves [0, 1]
    y = _ticks(max(0.0, lowest), min(1.0, highest))
    x = np.linspace(0, 1, 6)
    lines = tuple(_line(looks[label], curve, y) for label, curve in curves.items())
    return Panel(
        column, X_LABELS.get(column.metric, "fraction of the image"),
        "share that keep the class" if "class-kept" in column.signature else "mean target probability",
        tuple(Tick(float(v), f"{t:.1f}") for v, t in zip(_x(x), x, strict=True)),
        tuple(Tick(float(v), f"{t:.{_places(y)}f}") for v, t in zip(_y(y, y), y, strict=True)), lines)


def _ticks(low: float, high: float) -> Floats:
    """About five round numbers that enclose the values."""
    span = max(high - low, 1e-6)
    step = 10.0 ** floor(log10(span / 4))
    step *= next(m for m in (1, 2, 2.5, 5, 10) if span / (step * m) <= 5)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return np.arange(first, last + 1) * step


def _places(ticks: Floats) -> int:
    step = float(ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    return next(p for p in range(9) if abs(step * 10**p - round(step * 10**p)) < 1e-6 or p == 8)


def _x(values: Floats) -> Floats:
    return LEFT + values * (WIDTH - LEFT - RIGHT)


def _y(values: Floats, ticks: Floats) -> Floats:
    share = (values - ticks[0]) / (ticks[-1] - ticks[0])
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _line(style: Style, curve: MeanCurve, ticks: Floats) -> Line:
    xs = _x(curve.x)
    points = _points(xs, _y(curve.mean, ticks))
    if style.role or not np.isfinite(curve.half).all():
        return Line(style, points, "")
    upper = _y(np.minimum(curve.mean + curve.half, ticks[-1]), ticks)
    lower = _y(np.maximum(curve.mean - curve.half, ticks[0]), ticks)
    return Line(style, points, f"{_points(xs, upper)} {_points(xs[::-1], lower[::-1])}")


def _points(xs: Floats, ys: Floats) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
