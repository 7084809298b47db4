"""What an explanation can be, a file each."""

from vxp.kinds._types import Kind, Map, Resample
from vxp.kinds.heatmap2d import HEATMAP2D
from vxp.kinds.heatmap3d import HEATMAP3D
from vxp.media import Medium

KINDS: dict[str, Map] = {kind.id: kind for kind in (HEATMAP2D, HEATMAP3D)}
"""All of them by id."""
MAPS = tuple(kind.id for kind in KINDS.values())
"""The kinds that are maps of relevance over positions, on whatever axes."""


def of_medium(medium: Medium) -> Map:
    """The map of relevance over the items of a medium."""
    return next(kind for kind in KINDS.values() if kind.medium is medium)


__all__ = ["HEATMAP2D", "HEATMAP3D", "KINDS", "MAPS", "Kind", "Map", "Resample", "of_medium"]
