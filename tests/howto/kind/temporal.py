"""A map [t] over a clip: when, and not where. A value holds for all positions of its frame."""

from vxp.kinds._types import Map
from vxp.media import CLIP

TEMPORAL = Map("temporal", CLIP)
