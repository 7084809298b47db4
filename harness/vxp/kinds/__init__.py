"""What an explanation can be, a file each."""

from collections.abc import Collection
from importlib import import_module
from pkgutil import iter_modules

from vxp.kinds._types import Kind, Map, Resample
from vxp.kinds.heatmap2d import HEATMAP2D
from vxp.kinds.heatmap3d import HEATMAP3D
from vxp.kinds.temporal import TEMPORAL
from vxp.media import Medium

_modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__) if not module.name.startswith("_")]
KINDS: dict[str, Map] = {kind.id: kind for module in _modules for kind in vars(module).values() if isinstance(kind, Map)}
"""All of them by id, found by scan."""
EVERY = tuple(kind.id for kind in KINDS.values())
"""Their ids."""
MAPS = tuple(kind.id for kind in KINDS.values() if kind.whole)
"""The kinds that are maps of relevance over positions, on whatever axes."""


def of_medium(medium: Medium, among: Collection[str] = MAPS) -> Map:
    """The explanation of items of a medium: the first of these kinds, of none of them a map over its positions where there is
    one."""
    own = [kind for kind in KINDS.values() if medium in kind.media]
    return next((kind for kind in own if kind.id in among), next((kind for kind in own if kind.whole), own[0]))


def of_map(medium: Medium, axes: int) -> Map:
    """The kind of explanations with so many axes of items of a medium; a map over its positions where no other fits."""
    return of_medium(medium, [kind.id for kind in KINDS.values() if len(kind.grid) == axes])


__all__ = ["EVERY", "HEATMAP2D", "HEATMAP3D", "KINDS", "MAPS", "TEMPORAL", "Kind", "Map", "Resample", "of_map", "of_medium"]
