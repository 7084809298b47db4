"""Rows and regions of an item that no map decides: run once, and read by every explanation of the item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from vxp.core import Edit, Filled, Noised, Offset, Readout, Rendered, Translated, Unchanged, Without

MAPLESS = (Unchanged, Filled, Noised, Without, Translated, Offset, Rendered)
"""The edits that depend on the item and on keyed draws only."""


@dataclass(frozen=True)
class Wanted:
    """What metrics ask of an item whatever its map says: edits, the edits whose vectors are read, and numbers of regions."""

    edits: tuple[Edit, ...] = (Unchanged(),)
    vectors: tuple[tuple[Edit, Readout], ...] = ()
    regions: tuple[int, ...] = ()

    @classmethod
    def of(cls, parts: Iterable[Wanted]) -> Wanted:
        """All of these, each once; the unchanged item always."""
        edits: dict[Edit, None] = {Unchanged(): None}
        vectors: dict[tuple[Edit, Readout], None] = {}
        regions: dict[int, None] = {}
        for part in parts:
            edits |= dict.fromkeys(part.edits)
            vectors |= dict.fromkeys(part.vectors)
            regions |= dict.fromkeys(part.regions)
        return cls(tuple(edits), tuple(vectors), tuple(regions))


@dataclass(frozen=True, eq=False)
class Shared:
    """What they gave for a batch: readouts [B, R] by edit, vectors [B, D], labels [B, *space] by number of regions; and whether
    the model has a representation."""

    rows: Mapping[Edit, Tensor] = field(default_factory=dict)
    vectors: Mapping[tuple[Edit, Readout], Tensor] = field(default_factory=dict)
    regions: Mapping[int, Tensor] = field(default_factory=dict)
    represented: bool = True


def mapless(edit: Edit) -> bool:
    """Whether the edit depends on no map."""
    return isinstance(edit, MAPLESS)


__all__ = ["Shared", "Wanted", "mapless"]
