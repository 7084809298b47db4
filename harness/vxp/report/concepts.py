"""Scores of concepts on the page: for every explanation of an item a column of bars, one for each concept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

KINDS = ("concepts",)
"""The kinds that are drawn."""
LEFT, COLUMN, ROW, HEAD, GAP = 104, 148, 19, 24, 14
"""Width of the names and of a column, height of a row and of the names of columns, and what is free between two columns."""


@dataclass(frozen=True, eq=False)
class Column:
    """What one explanation says of an item: a score [K] per concept, or the words that stand in its place."""

    name: str
    reference: bool
    scores: NDArray[np.float64]
    words: str = ""


def svg(label: str, names: Sequence[str], columns: Sequence[Column]) -> str:
    """Bars of every column from its middle, right for what raises the class and left for what lowers it, each column on the
    scale of its own largest score. label: what is read out."""
    width, height = LEFT + COLUMN * len(columns), HEAD + ROW * len(names) + 4
    rows = [f'<text class="name" x="{LEFT - 10}" y="{_middle(k) + 4:g}" text-anchor="end">{escape(name)}</text>'
            for k, name in enumerate(names)]
    drawn = [_column(column, names, LEFT + COLUMN * i) for i, column in enumerate(columns)]
    return (f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escape(label)}">'
            f'{"".join(rows)}{"".join(drawn)}</svg>')


def _middle(k: int) -> float:
    return HEAD + ROW * (k + 0.5)


def _column(column: Column, names: Sequence[str], left: int) -> str:
    middle, half = left + COLUMN / 2, (COLUMN - GAP) / 2
    kind = "" if column.reference else "name"
    head = f'<text class="{kind}" x="{middle:g}" y="14" text-anchor="middle">{escape(column.name)}</text>'
    if column.words:
        return f'{head}<text x="{middle:g}" y="{_middle(0) + 4:g}" text-anchor="middle">{escape(column.words)}</text>'
    top = float(np.abs(column.scores).max(initial=0.0))
    line = f'<line class="grid" x1="{middle:g}" x2="{middle:g}" y1="{HEAD}" y2="{HEAD + ROW * len(names)}"/>'
    return head + line + "".join(_bar(column, name, float(score), (middle, half / top if top else 0.0, _middle(k)))
                                 for k, (name, score) in enumerate(zip(names, column.scores, strict=True)))


def _bar(column: Column, name: str, score: float, at: tuple[float, float, float]) -> str:
    """A bar from the middle of its column; at: that middle, the length of a score of 1, and the middle of the row."""
    middle, scale, y = at
    said = f"<title>{escape(column.name)}, {escape(name)}: {score:+.3g}</title>"
    if score == 0:
        return f'<circle cx="{middle:g}" cy="{y:g}" r="1.5" class="zero">{said}</circle>'
    kind = "reference-for" if column.reference else "for" if score > 0 else "against"
    length = max(1.0, abs(score) * scale)
    start = middle if score > 0 else middle - length
    return f'<rect class="{kind}" x="{start:.1f}" y="{y - 6:g}" width="{length:.1f}" height="12" rx="2">{said}</rect>'


__all__ = ["KINDS", "Column", "svg"]
