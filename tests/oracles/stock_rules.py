"""Rules of concepts of the vectors: images with the concepts that they have, and rules that say one of five classes."""

import json
from collections.abc import Mapping
from functools import cache

import numpy as np

from oracles import stock_images, stock_texts
from oracles.stock import Stock

CAPACITY = 512
"""Bytes of a document here, zeros behind it; readers take any number of them."""
NAMES = ("round", "red", "ground-bright")
PRESENT = ((True, True, False), (False, False, True), (True, False, True), (False, False, False), (True, True, True),
           (False, True, False))
Said = tuple[list[dict[str, bool]], int, int | None]
"""Alternatives, each by concept whether it is there; what is said, and what otherwise."""


@cache
def rules() -> Stock:
    stored = {name: (i, "none", document(rule)) for name, (i, rule) in of_images().items()}
    return Stock("rules-", stock_images.inputs(), stored,
                 {"present": [np.array(row) for row in PRESENT]}, stock_texts.models(), sound=("random", "native", "ties"),
                 kind="rules", concepts=NAMES)


def of_images() -> Mapping[str, tuple[int, Said]]:
    """By name the image and its rule. The rule of `unknown` names a concept that there is not, which no item has or lacks."""
    return {
        "random": (0, ([{"round": True, "red": True}, {"round": False, "ground-bright": True}], 1, 0)),
        "native": (1, ([{"red": False}], 2, None)),
        "ties": (2, ([{"round": True}, {"red": True}, {"round": True, "red": True}], 3, 4)),
        "always": (0, ([{}], 1, None)), "never": (1, ([], 0, None)), "otherwise": (2, ([], 0, 3)),
        "unknown": (0, ([{"square": True}, {"square": False}, {"red": True, "square": False}], 2, 1)),
        "every": (1, ([{"round": bool(n & 4), "red": bool(n & 2), "ground-bright": bool(n & 1)} for n in (0, 3, 6)], 0, 2)),
        "flat": (3, ([{"ground-bright": False}], 4, None)),
    }


def document(said: Said) -> np.ndarray:
    """The bytes of a document, uint8 [CAPACITY]."""
    alternatives, says, otherwise = said
    made = [[{"concept": concept, "is": holds} for concept, holds in alternative.items()] for alternative in alternatives]
    data = json.dumps({"otherwise": otherwise, "rule": made, "says": says}, separators=(",", ":")).encode()
    return np.frombuffer(data.ljust(CAPACITY, b"\0"), np.uint8)
