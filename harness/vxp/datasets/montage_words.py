"""montage-words: the videos of montage, each with a sentence that says what a person would find in it.

The sentence names what is seen in one shot only, which no other footage of the video resembles, and what is seen most often. It
is made from the recipe: which photo every shot is cut from. So it is true of the video, and knows no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from vxp.datasets import montage
from vxp.datasets._types import Item, Sample, Source
from vxp.documents import words
from vxp.documents.words import Words

NAMES: Mapping[str, str] = {
    "brick": "a wall of bricks", "camera": "a man with a camera", "chelsea": "a cat", "china": "a Chinese temple",
    "coffee": "a cup of coffee", "coins": "old coins", "gravel": "gravel", "hubble": "galaxies in deep space",
    "tissue": "tissue under a microscope", "astronaut": "an astronaut", "cell": "a cell under a microscope",
    "flower": "a flower", "grass": "grass", "retina": "the inside of an eye", "rocket": "the launch of a rocket",
}
"""What the photos show."""


def described(photos: Sequence[str]) -> Words:
    """The sentence of a video whose shots are cut from these photos."""
    counts = Counter(photos)
    once = [NAMES[photo] for photo in counts if counts[photo] == 1]
    most = max(counts, key=lambda photo: counts[photo])
    listed = once[0] if len(once) == 1 else f"{', '.join(once[:-1])} and {once[-1]}"
    return Words(f"What stands out is {listed}, seen in one shot only; the video comes back to {NAMES[most]} again and again.")


def load(item: Item) -> Sample:
    """The video of montage, with the truth `texts`, the bytes uint8 [8192] of the sentence as a document."""
    data = words.canonical(described([shot["photo"] for shot in item.recipe["shots"]]))
    text = torch.zeros(words.CAPACITY, dtype=torch.uint8)
    text[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return replace(montage.load(item), truth={"texts": text})


MONTAGE_WORDS = Source(
    id="montage-words", version=1, load=load, propose=montage.propose, missing=montage.MONTAGE.missing, truth=("texts",),
    licence=montage.MONTAGE.licence, about="The videos of montage, with a sentence of what each shows", access="packages",
    cluster="video",
    detail="The videos of montage@1, bit for bit. The truth `texts` is an English sentence: what is seen in one shot only, and "
           "what is seen most often, in plain names of the photos. It is made from the recipe and knows no model: it is what a "
           "person would say of the video, and not what decides how a summariser ranks its frames.",
)
