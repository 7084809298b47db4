"""The pictures of the report from Python: maps over their images, and the curves behind scores, as a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vxp import kinds, media
from vxp.api import Score, Scores
from vxp.core import VxpError, doors
from vxp.core.perturb import levels
from vxp.report import pictures

if TYPE_CHECKING:  # half a second that only a figure needs
    from matplotlib.figure import Figure

SIDE = 1.8
"""Inches of a picture's side."""
BESIDE = 3
"""Curves of metrics in a row under clips."""


def show(
    inputs: doors.Given, attributions: doors.Given | Mapping[str, doors.Given],
    scores: Scores | Mapping[str, Scores] | None = None, *, normalization: Any = None, titles: Sequence[str] | None = None,
    signed: bool | None = None, pool: str | None = None,
) -> Figure:
    """A figure of the images, one a row, with the maps of one explainer over them, or of several by name, one a column. A clip
    has its frames in a row, the maps over them below, and under these the share of relevance in every frame.

    inputs [B, 3, H, W], of clips [B, 3, T, H, W], attributions [B, h, w] or [B, t, h, w], normalization and pool are as in
    `vxp.score`. scores are those of the maps, for
    several explainers by the same names: below the images every metric that has a curve gets a panel with the mean over the
    items that are ok, and the pointwise 95 % interval over items. signed: colour maps by their sign, symmetric about 0;
    by default those with a negative value. titles name the rows.

    The figure belongs to no window: the last line of a notebook's cell shows it, and `figure.savefig("maps.png")` keeps it.
    """
    several = dict(attributions) if isinstance(attributions, Mapping) else {"": attributions}
    pixels = _pixels(inputs, normalization)
    kind = kinds.of_map(media.of_axes(pixels.ndim - 2), pixels.ndim - 2)
    columns = {name: doors.maps(found, len(pixels), pool, kind=kind).cpu() for name, found in several.items()}
    if titles is not None and len(titles) != len(pixels):
        raise VxpError(f"titles: got {len(titles)}, expected {len(pixels)}, one per item")
    panels = _panels(scores, list(several))
    named = [str(title) for title in titles] if titles else [""] * len(pixels)
    if kind is kinds.HEATMAP3D:
        return _clips([[Image.fromarray(one) for one in clip] for clip in pixels], columns, panels, named, signed)
    photos = [Image.fromarray(one) for one in pixels]
    width, rows = 1 + len(columns), len(photos)
    deep = -(-len(panels) // width)
    figure = _figure(SIDE * width, SIDE * rows + 1.4 * SIDE * deep)
    grid = figure.add_gridspec(rows + deep, width, height_ratios=[1.0] * rows + [1.4] * deep)
    for i, photo in enumerate(photos):
        _picture(figure.add_subplot(grid[i, 0]), photo, "image" if i == 0 else "", named[i])
        for c, (name, maps) in enumerate(columns.items(), 1):
            values = maps[i].numpy()
            drawn = pictures.overlay(photo, values, bool((maps < 0).any()) if signed is None else signed)
            _picture(figure.add_subplot(grid[i, c]), drawn, name if i == 0 else "", "")
    for k, (metric, lines) in enumerate(panels.items()):
        _curves(figure.add_subplot(grid[rows + k // width, k % width]), metric, lines)
    return figure


def _figure(width: float, height: float) -> Figure:
    """A figure that a notebook knows how to show, and that no list of open windows holds."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(width, height), layout="constrained")
    pyplot.close(figure)
    return figure


def _clips(
    clips: Sequence[Sequence[Image.Image]], columns: Mapping[str, Tensor], panels: Mapping[str, list[tuple[str, Score]]],
    titles: Sequence[str], signed: bool | None,
) -> Figure:
    """Per clip a row of its frames, a row per map over them, and the relevance over time; the curves of metrics below."""
    each, n = 2 + len(columns), len(clips)
    deep = -(-len(panels) // BESIDE)
    figure = _figure(max(BESIDE * 2 * SIDE, 0.5 * SIDE * len(clips[0])), SIDE * (0.6 * n * each + 1.4 * deep))
    grid = figure.add_gridspec(n * each + deep, BESIDE, height_ratios=[1.0] * (n * each) + [1.8] * deep)
    for i, frames in enumerate(clips):
        top = i * each
        _picture(figure.add_subplot(grid[top, :]), pictures.side_by_side(frames), titles[i], "clip")
        for row, (name, maps) in enumerate(columns.items(), top + 1):
            drawn = pictures.overlays(frames, maps[i].numpy(), bool((maps < 0).any()) if signed is None else signed)
            _picture(figure.add_subplot(grid[row, :]), pictures.side_by_side(drawn), "", name)
        _over_time(figure.add_subplot(grid[top + each - 1, :]), {name: maps[i] for name, maps in columns.items()}, len(frames))
    for k, (metric, lines) in enumerate(panels.items()):
        _curves(figure.add_subplot(grid[n * each + k // BESIDE, k % BESIDE]), metric, lines)
    return figure


def _over_time(axes: Any, maps: Mapping[str, Tensor], frames: int) -> None:
    """The share of a clip's positive relevance in each frame, a line per explainer."""
    for place, (name, values) in enumerate(maps.items()):
        colour, _ = pictures.style(place, False)
        axes.plot(range(frames), pictures.over_time(values.numpy(), frames), color=colour, label=name)
    axes.set(xlim=(-0.5, frames - 0.5), ylim=(0, None), xlabel="frame", ylabel="relevance")
    if any(maps):
        axes.legend(fontsize="x-small")


def _pixels(inputs: doors.Given, normalization: Any) -> NDArray[np.uint8]:
    """Images [B, H, W, 3], or clips [B, T, H, W, 3], as they are seen: raw values on [0, 1], beyond it clipped."""
    found = doors.pictures(inputs)
    if found.shape[1] not in (1, 3):
        raise VxpError(f"inputs: got {found.shape[1]} channels, expected 1 or 3 to draw")
    raw = doors.normalization(normalization, found.shape[1]).to_raw(found, found.ndim - 2)
    pixels: NDArray[np.uint8] = levels(raw).expand(-1, 3, *found.shape[2:]).movedim(1, -1).cpu().numpy()
    return pixels


def _panels(scores: Scores | Mapping[str, Scores] | None, names: Sequence[str]) -> dict[str, list[tuple[str, Score]]]:
    """Per metric that has a curve, the scores of every explainer."""
    given: Mapping[str, Any] = {} if scores is None else {names[0]: scores} if isinstance(scores, Scores) else scores
    if unknown := [name for name in given if name not in names]:
        raise VxpError(f"scores: got those of {unknown}, expected names of the maps: {', '.join(names)}")
    if isinstance(scores, Scores) and len(names) > 1:
        raise VxpError(f"scores: got those of one explainer, expected a mapping with the names of the maps: {', '.join(names)}")
    panels: dict[str, list[tuple[str, Score]]] = {}
    for name, found in given.items():
        for signature, score in found.items():
            if score.curve is not None and "ok" in score.status:
                panels.setdefault(signature, []).append((name, score))
    return panels


def _picture(axes: Any, picture: Image.Image, above: str, beside: str) -> None:
    axes.imshow(np.asarray(picture))
    axes.set(xticks=[], yticks=[], title=above, ylabel=beside)


def _curves(axes: Any, metric: str, lines: Sequence[tuple[str, Score]]) -> None:
    for place, (name, score) in enumerate(lines):
        good = np.array([status == "ok" for status in score.status])
        curves: NDArray[np.float64] = _array(score.curve)[good]
        mean, low, high = pictures.band(curves, [str(i) for i in range(len(curves))])
        colour, _ = pictures.style(place, False)
        axes.fill_between(score.x, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(score.x, mean, color=colour, label=f"{name} {score.mean:.3f}".strip())
    axes.set_title(metric.partition("@")[0], fontsize="small")
    axes.legend(fontsize="x-small")


def _array(curve: Tensor | None) -> NDArray[np.float64]:
    return np.zeros((0, 0)) if curve is None else curve.double().numpy()
