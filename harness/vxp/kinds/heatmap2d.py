"""A map [h, w] over an image (clause [map])."""

from vxp.kinds._types import Map
from vxp.media import IMAGE

HEATMAP2D = Map("heatmap2d", (IMAGE,))
