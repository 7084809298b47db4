"""What may be asked: a request is a tuple of edits, a call and a readout, all frozen and hashable.

Two metrics that ask for the same row ask with equal values, and the engine runs that row once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Name = str | tuple[str | int, ...]
"""How a metric calls what it asks a case to hold: a word, or a word with the parameters that it was made by."""


@dataclass(frozen=True)
class Held:
    """What a case holds: an order, a mask or an image. `case` is the key of the case; the order by position has no name."""

    case: str
    name: Name = ""


@dataclass(frozen=True)
class Stream:
    """Which draws: the purpose, a metric's id@version, and the stream of a random key (see vxp.random)."""

    purpose: str
    stream: str


@dataclass(frozen=True)
class Unchanged:
    """The item as it is."""


@dataclass(frozen=True)
class Filled:
    """Every position replaced by the fill."""

    fill: str


@dataclass(frozen=True)
class Removed:
    """The positions (or groups) of rank a <= rank < b in an order are replaced by the fill; rank 0 goes first."""

    order: Held
    a: int
    b: int
    fill: str


@dataclass(frozen=True)
class Blended:
    """fill + mask*(input - fill) in input space, with a mask in [0, 1] that the case holds under this name."""

    mask: Held
    fill: str


@dataclass(frozen=True)
class Redrawn:
    """An image of 8-bit levels that the case holds under this name. Where its level is that of the item, the input's value
    stays as it is."""

    image: Held


@dataclass(frozen=True)
class Rendered:
    """An image of 8-bit levels that belongs to the item: of the images [B, ..., C, H, W] of a truth the one of this number,
    row-major. Where its level is that of the item, the input's value stays as it is. Depends on no map."""

    truth: str
    number: int


@dataclass(frozen=True)
class Noised:
    """Inputs plus uniform noise in [-radius, radius], in the model's input units, drawn per value and per item."""

    stream: Stream
    draw: int
    radius: float


@dataclass(frozen=True)
class Scattered:
    """n positions drawn at random."""

    stream: Stream
    draw: int
    n: int


@dataclass(frozen=True)
class Square:
    """A square of 1 to `side` pixels a side, its size and its place drawn at random, inside the image."""

    stream: Stream
    draw: int
    side: int


@dataclass(frozen=True)
class Cell:
    """The cell of this index in a regular grid of grid x grid cells, row-major: position (y, x) lies in cell
    (floor(y*grid/H), floor(x*grid/W))."""

    grid: int
    index: int


@dataclass(frozen=True)
class SomeCells:
    """n cells of that grid, drawn at random."""

    grid: int
    stream: Stream
    draw: int
    n: int


@dataclass(frozen=True)
class Piece:
    """The part of this number of an item: a fragment or a second in time, an object in space (`Batch.parts`)."""

    unit: str
    number: int


Part = Scattered | Square | Cell | SomeCells | Piece
"""Positions that no map decides (see vxp.core.perturb.part)."""


@dataclass(frozen=True)
class Without:
    """The positions of a part are replaced by the fill. Depends on no map: all metrics and all explanations of a run share its
    rows."""

    part: Part
    fill: str


@dataclass(frozen=True)
class Translated:
    """The image moved down and across by whole pixels (negative: up, left); what it leaves carries the fill."""

    down: int
    across: int
    fill: str


@dataclass(frozen=True)
class Offset:
    """Inputs plus one number at every value, in the model's input units."""

    amount: float


Edit = Unchanged | Filled | Removed | Blended | Redrawn | Rendered | Noised | Without | Translated | Offset


@dataclass(frozen=True)
class Randomised:
    """Parameters of the model drawn anew from their initial distribution (see vxp.models.randomised).

    `all` of them; or by stages counted from the output, of `stages` in all: `cascading` every stage up to this one,
    `independent` this one only.
    """

    stream: str
    mode: Literal["all", "cascading", "independent"] = "all"
    stage: int = 1
    stages: int = 1


@dataclass(frozen=True)
class Compensated:
    """The model that subtracts this number from every input value first: f'(x) = f(x - amount)."""

    amount: float


@dataclass(frozen=True)
class Relabelled:
    """The model of the same architecture that was trained on randomly permuted labels."""


State = Randomised | Compensated | Relabelled


@dataclass(frozen=True)
class Predict:
    """Run the model."""


@dataclass(frozen=True)
class Explain:
    """Run the explainer again and take its map on the input grid; `other` explains another class of the same item."""

    state: State | None = None
    other: Stream | None = None


@dataclass(frozen=True)
class Segment:
    """Cut the item into about n regions of similar colour; answered by labels 0, 1, ... [B, K, *space]."""

    n: int


Call = Predict | Explain | Segment
Readout = Literal["probability", "log-probability", "log-complement", "logit", "argmax", "mean-score", "output",
                  "representation", "map"]


@dataclass(frozen=True)
class Request:
    """K variants of every item; answered by a tensor [B, K], by [B, K, D] for `output` (all logits) and
    `representation` (the input of the model's last linear layer), or by [B, K, *space] for maps and labels."""

    edits: tuple[Edit, ...]
    call: Call = Predict()
    readout: Readout = "probability"
