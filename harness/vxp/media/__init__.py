"""What items are made of: images, clips and sequences, a file each."""

from vxp.errors import VxpError
from vxp.media._types import RAW, Fill, Imputed, Medium, Normalization, Painted, Shortened
from vxp.media.clip import CLIP
from vxp.media.image import IMAGE
from vxp.media.sequence import SEQUENCE

MEDIA = {medium.id: medium for medium in (IMAGE, CLIP, SEQUENCE)}
"""All of them by id."""


def of_axes(axes: int) -> Medium:
    """The medium of items with so many axes of positions; VxpError where there is none."""
    found = next((medium for medium in MEDIA.values() if len(medium.axes) == axes), None)
    if found is None:
        raise VxpError(f"got items with {axes} axes of positions, expected 1 (sequences [B, D, n]), 2 (images "
                       "[B, C, H, W]) or 3 (clips [B, C, T, H, W])")
    return found


__all__ = ["CLIP", "IMAGE", "MEDIA", "RAW", "SEQUENCE", "Fill", "Imputed", "Medium", "Normalization", "Painted", "Shortened",
           "of_axes"]
