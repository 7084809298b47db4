"""A map [t, h, w] over a clip (clause [clip-map]). `frames` keeps what a model says of one frame from smearing into others."""

from vxp.kinds._types import Map
from vxp.media import CLIP

HEATMAP3D = Map("heatmap3d", (CLIP,))
