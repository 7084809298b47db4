"""What an explanation can be, a file each."""

from collections.abc import Collection
from importlib import import_module
from pkgutil import iter_modules

from vxp.kinds._types import Kind, KindId, Map, Resample
from vxp.kinds.concepts import CONCEPTS
from vxp.kinds.counterfactual import COUNTERFACTUAL
from vxp.kinds.heatmap2d import HEATMAP2D
from vxp.kinds.heatmap3d import HEATMAP3D
from vxp.kinds.prototypes import PROTOTYPES
from vxp.kinds.regions import REGIONS, REGIONS3D, painted
from vxp.kinds.rules import rule_of, ruled
from vxp.kinds.temporal import TEMPORAL
from vxp.kinds.text import TEXT, decoded, encoded
from vxp.media import Medium

_modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__) if not module.name.startswith("_")]
KINDS: dict[str, Kind] = {kind.id: kind for module in _modules for kind in vars(module).values() if isinstance(kind, Kind)}
"""All of them by id, found by scan."""
EVERY = tuple(kind.id for kind in KINDS.values())
"""Their ids."""
MAPS = tuple(kind.id for kind in KINDS.values() if kind.whole)
"""The kinds that are maps of relevance over positions, on whatever axes."""


def of_medium(medium: Medium, among: Collection[str] = MAPS) -> Kind:
    """The explanation of items of a medium: of these kinds the map over its positions, else the first; of none of them the
    map."""
    own = [kind for kind in KINDS.values() if medium in kind.media]
    chosen = [kind for kind in own if kind.id in among] or own
    return next((kind for kind in chosen if kind.whole), chosen[0])


def of_map(medium: Medium, axes: int) -> Map:
    """The kind of maps with so many axes of items of a medium; a map over its positions where no other fits."""
    maps = [kind for kind in KINDS.values() if isinstance(kind, Map) and medium in kind.media and kind.also is None]
    return next((kind for kind in maps if len(kind.grid) == axes), next((kind for kind in maps if kind.whole), maps[0]))


def admits(kinds: Collection[str], kind: str) -> bool:
    """Whether what is defined for these kinds is defined for this one, or for one that it is too."""
    return kind in kinds or (kind in KINDS and KINDS[kind].also in kinds)


__all__ = ["CONCEPTS", "COUNTERFACTUAL", "EVERY", "HEATMAP2D", "HEATMAP3D", "KINDS", "MAPS", "PROTOTYPES", "REGIONS",
           "REGIONS3D", "TEMPORAL", "TEXT", "Kind", "KindId", "Map", "Resample", "admits", "decoded", "encoded", "of_map",
           "of_medium", "painted", "rule_of", "ruled"]
