"""The pictures of the report from Python: maps over their images, and the curves behind scores, as a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vxp.api import Score, Scores
from vxp.core import VxpError, doors
from vxp.core.perturb import levels
from vxp.report import pictures

if TYPE_CHECKING:  # half a second that only a figure needs
    from matplotlib.figure import Figure

SIDE = 1.8
"""Inches of a picture's side."""


def show(
    inputs: doors.Given, attributions: doors.Given | Mapping[str, doors.Given],
    scores: Scores | Mapping[str, Scores] | None = None, *, normalization: Any = None, titles: Sequence[str] | None = None,
    signed: bool | None = None, pool: str | None = None,
) -> Figure:
    """A figure of the images, one a row, with the maps of one explainer over them, or of several by name, one a column.

    inputs [B, 3, H, W], attributions [B, h, w], normalization and pool are as in `vxp.score`. scores are those of the maps, for
    several explainers by the same names: below the images every metric that has a curve gets a panel with the mean over the
    items that are ok, and the pointwise 95 % interval over items. signed: colour maps by their sign, symmetric about 0;
    by default those with a negative value. titles name the rows.

    The figure belongs to no window: the last line of a notebook's cell shows it, and `figure.savefig("maps.png")` keeps it.
    """
    several = dict(attributions) if isinstance(attributions, Mapping) else {"": attributions}
    photos = _photos(inputs, normalization)
    columns = {name: doors.maps(found, len(photos), pool).cpu() for name, found in several.items()}
    if titles is not None and len(titles) != len(photos):
        raise VxpError(f"titles: got {len(titles)}, expected {len(photos)}, one per item")
    panels = _panels(scores, list(several))
    width, rows = 1 + len(columns), len(photos)
    deep = -(-len(panels) // width)
    figure = _figure(SIDE * width, SIDE * rows + 1.4 * SIDE * deep)
    grid = figure.add_gridspec(rows + deep, width, height_ratios=[1.0] * rows + [1.4] * deep)
    for i, photo in enumerate(photos):
        _picture(figure.add_subplot(grid[i, 0]), photo, "image" if i == 0 else "", str(titles[i]) if titles else "")
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


def _photos(inputs: doors.Given, normalization: Any) -> list[Image.Image]:
    """The images as they are seen: raw values on [0, 1], beyond it clipped."""
    images = doors.images(inputs)
    if images.shape[1] not in (1, 3):
        raise VxpError(f"inputs: got {images.shape[1]} channels, expected 1 or 3 to draw")
    raw = doors.normalization(normalization, images.shape[1]).to_raw(images)
    pixels = levels(raw).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(one) for one in pixels]


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
