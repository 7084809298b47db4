"""Where prototypes are found in the images of the vectors, which are in parts."""

from functools import cache

import numpy as np

from oracles import stock_parts
from oracles.stock import H, Stock, W, drawn, dyadic

GRID = (6, 8)
CELLS = {"body": (3, 3), "left": (2, 0), "right": (2, 7), "foot": (5, 4), "ground": (0, 5)}
"""Cells of the grid whose middle lies in a part of the first image, or in none."""


@cache
def prototypes() -> Stock:
    return Stock("prototypes-", stock_parts.inputs()[:1].repeat(4, axis=0) + shades(), planes(), {},
                 {"cnn": stock_parts.models()["cnn"]}, sound=("random", "native"), kind="prototypes",
                 parts=[{"part": [int(k) for k in labels.ravel()]} for labels in label_maps()])


def shades() -> np.ndarray:
    """float32 [4, 3, H, W]: what is added to the first image to make four."""
    return (drawn("prototypes-shades", 4, 3, H, W) - 0.5).astype(np.float32)


def label_maps() -> list[np.ndarray]:
    """The five parts of the first image, in four places."""
    return [np.roll(stock_parts.label_maps()[0], i, axis=1) for i in range(4)]


def planes() -> dict[str, tuple[int, str, np.ndarray]]:
    """Planes of four prototypes by name, with the number of the image that each belongs to: the first is found on the body, the
    second on one of the wings, the third anywhere, and the fourth speaks for some items only. silent: none of them speaks."""
    found = {}
    for n in range(12):
        made = 0.4 * drawn(f"prototypes-{n}", 4, *GRID) - 0.2
        made[0][CELLS["body"]] = made[1][CELLS["left" if n % 3 else "right"]] = 1.5
        if n % 2:
            made[3] -= 1
        found["random" if n == 0 else f"n{n}"] = (n % 4, made)
    ties = np.full((4, *GRID), 0.25)
    found |= {"native": (1, dyadic("prototypes-native", 4, *GRID)), "ties": (2, ties),
              "silent": (3, -drawn("prototypes-silent", 4, *GRID)), "broken": (0, np.full((4, *GRID), np.nan))}
    return {name: (i, "none", values.astype(np.float32)) for name, (i, values) in found.items()}
