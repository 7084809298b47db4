"""Explanations in words of the vectors: of sequences what shots count, and of images what parts count."""

import json
import unicodedata
from collections.abc import Mapping
from functools import cache

import numpy as np

from oracles import stock_images, stock_sequences
from oracles.stock import MEAN, STD, H, Model, Stock, W, drawn

CAPACITY = 512
"""Bytes of a document here, zeros behind it; readers take any number of them."""
NAMES = ("head", "left-wing", "tail")
Said = tuple[str, list[tuple[str, str, str]]]
"""A text, and its claims: attribute, value and role."""


@cache
def texts_of_sequences() -> Stock:
    return Stock("words-sequence-", stock_sequences.inputs(), stored(of_shots()), {"texts": references(SHOTS)},
                 stock_sequences.models(), sound=("random", "native", "ties", "three"),
                 parts=[{"fragment": stock_sequences.divided(lengths)} for lengths in stock_sequences.LENGTHS],
                 output="sequence", kind="text")


@cache
def texts_of_images() -> Stock:
    return Stock("words-image-", stock_images.inputs(), stored(of_parts()), {"without": without(), "texts": references(PARTS)},
                 models(), sound=("random", "native", "ties"), kind="text", concepts=NAMES, always=("without",))


def models() -> dict[str, Model]:
    """Those of images whose outputs depend on them, and a constant one."""
    return {name: model for name, model in stock_images.models().items() if name in ("cnn", "linear", "constant")}


def shots(*numbers: int) -> list[tuple[str, str, str]]:
    return [("shot", str(number), "cause") for number in numbers]


def of_shots() -> Mapping[str, tuple[int, Said]]:
    """By name the sequence that the words are of, of 8, 7, 10, 1 and 3 shots. Numbers that no shot has, other spellings of a
    number, other attributes and the role `context` claim no cause."""
    every = [("shot", str(number), "context" if number % 2 else "cause") for number in range(1, 9)]
    return {
        "random": (0, ("The order of the frames hangs most on shot 4, then shot 7.", shots(4, 7))),
        "native": (1, ("Shots 1, 2, 3 and 5 count.", shots(1, 2, 3, 5))),
        "ties": (2, ("It hangs on shot 10 and on the light.", [*shots(10, 3), ("light", "10", "cause")])),
        "every": (0, ("All that happens counts.", every)),
        "context": (1, ("Shot 4 is there, and nothing counts.", [("shot", "4", "context")])),
        "silent": (2, ("Something counts.", [])), "empty": (0, ("", shots(1, 2, 3))), "white": (1, (" \u2003 ", [])),
        "spelt": (0, ("Shot four counts.", [("shot", "04", "cause"), ("Shot", "4", "cause"), *shots(9, 2)])),
        "accents": (0, (unicodedata.normalize("NFD", "The naïve café of shot 5 counts."), shots(5))),
        "one": (3, ("The only shot counts.", shots(1))), "three": (4, ("Shot 2 counts.", shots(2))),
    }


def of_parts() -> Mapping[str, tuple[int, Said]]:
    """The same of images: what counts by name."""
    return {
        "random": (0, ("It is called so for its head.", [("part", "head", "cause"), ("part", "tail", "context")])),
        "native": (1, ("Its left wing and its tail tell.", [("part", "left-wing", "cause"), ("part", "tail", "cause")])),
        "ties": (2, ("Head, wing and tail.", [("part", name, "cause") for name in NAMES])),
        "context": (0, ("There is a tail.", [("part", "tail", "context")])), "silent": (1, ("It is what it is.", [])),
        "empty": (2, ("", [("part", "head", "cause")])),
        "spelt": (0, ("The Head counts.", [("part", "Head", "cause"), ("colour", "head", "cause"),
                                           ("part", "left wing", "cause")])),
        "flat": (3, ("Nothing is to be seen; the head counts.", [("part", "head", "cause")])),
    }


SHOTS = ("Shots 4 and 7 show a rocket, as no other does.", "The grass of shots 1 to 3 comes again and again.",
         "The light counts.", "There is only one shot.", " ")
PARTS = ("It has the head of a bird.", "Wings and tail are those of a bat.", "Everything tells: head, wing and tail.", "",
         "It is so by its head, its wings, and its tail.", "Nothing is there.")


def references(texts: tuple[str, ...]) -> list[np.ndarray]:
    """The reference texts, by the number of the item."""
    return [document((text, [])) for text in texts]


def stored(said: Mapping[str, tuple[int, Said]]) -> dict[str, tuple[int, str, np.ndarray]]:
    return {name: (i, "none", document(words)) for name, (i, words) in said.items()}


def document(said: Said) -> np.ndarray:
    """The bytes of a document, uint8 [CAPACITY]."""
    text, claims = said
    made = [dict(zip(("attribute", "value", "role"), claim, strict=True)) for claim in claims]
    data = json.dumps({"claims": made, "text": text}, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    return np.frombuffer(data.ljust(CAPACITY, b"\0"), np.uint8)


def without() -> np.ndarray:
    """uint8 [6, 3, 3, 24, 32]: by image the levels without each of three parts, where other levels stand in a rectangle. What
    is taken out of the fourth image is nothing."""
    raw = np.clip(stock_images.inputs().astype(float) * column(STD) + column(MEAN), 0, 1)
    own = np.floor(raw * 255 + 0.5).astype(np.uint8)
    own = own[[0, 1, 2, 0, 1, 3]]
    found = np.repeat(own[:, None], len(NAMES), axis=1)
    other = np.floor(drawn("words/without", 6, len(NAMES), 3, H, W) * 256).astype(np.uint8)
    places = [(slice(2, 9), slice(3, 15)), (slice(8, 20), slice(14, 30)), (slice(16, 23), slice(0, 11))]
    for part, place in enumerate(places):
        found[:5, part, :, *place] = other[:5, part, :, *place]
    return found


def column(values: list[float]) -> np.ndarray:
    return np.array(values)[:, None, None]
