"""8-bit YUV planes as 8-bit RGB by integers, so that the bytes are the same on every machine (clause [clip-colour])."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]
MATRICES: Mapping[str, tuple[Fraction, Fraction]] = {
    "bt601": (Fraction(299, 1000), Fraction(114, 1000)), "bt709": (Fraction(2126, 10_000), Fraction(722, 10_000))}
"""The shares of red and of blue in the luma of a matrix."""
LEVELS: Mapping[str, tuple[int, Fraction, Fraction]] = {
    "limited": (16, Fraction(255, 219), Fraction(255, 224)), "full": (0, Fraction(1), Fraction(1))}
"""The black of the luma, and what luma and chroma are stretched by."""
BITS = 16


@cache
def coefficients(matrix: str, levels: str) -> tuple[int, int, int, int, int]:
    """Of luma, V in red, U and V in green, U in blue: the nearest multiples of 2^-16, as integers."""
    red, blue = MATRICES[matrix]
    _, luma, chroma = LEVELS[levels]
    green = 1 - red - blue
    exact = (luma, 2 * (1 - red) * chroma, 2 * (1 - blue) * blue / green * chroma, 2 * (1 - red) * red / green * chroma,
             2 * (1 - blue) * chroma)
    y, red_v, green_u, green_v, blue_u = (round(value * 2**BITS) for value in exact)
    return y, red_v, green_u, green_v, blue_u


def rgb(planes: Sequence[Plane], matrix: str, levels: str) -> Plane:
    """uint8 [H, W, 3] of the planes Y [H, W], U and V, or of Y alone, which is grey.

    A chroma sample counts for all positions of its block: [ceil(H / dy), ceil(W / dx)] with dy and dx of 1 or 2. Sums are
    rounded to the nearest, halves up, and clipped to 0..255.
    """
    y, red_v, green_u, green_v, blue_u = coefficients(matrix, levels)
    H, W = planes[0].shape
    luma = (planes[0].astype(np.int32) - LEVELS[levels][0]) * y + 2 ** (BITS - 1)
    if len(planes) == 1:
        return _eight_bit(np.stack([luma] * 3, axis=2))
    u, v = (_spread(plane, H, W).astype(np.int32) - 128 for plane in planes[1:])
    return _eight_bit(np.stack([luma + red_v * v, luma - green_u * u - green_v * v, luma + blue_u * u], axis=2))


def _spread(plane: Plane, H: int, W: int) -> Plane:
    dy, dx = -(-H // plane.shape[0]), -(-W // plane.shape[1])
    return plane.repeat(dy, 0).repeat(dx, 1)[:H, :W]


def _eight_bit(sums: NDArray[np.int32]) -> Plane:
    return (sums >> BITS).clip(0, 255).astype(np.uint8)


__all__ = ["MATRICES", "Plane", "coefficients", "rgb"]
