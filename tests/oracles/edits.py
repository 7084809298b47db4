"""The words of the line protocol for what was shown to an explainer: which edit of the item an image is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from oracles import fills, masking, philox

Edit = dict[str, Any]


def edits(sample: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[tuple[Edit, np.ndarray]]:
    """Every edit under which a metric with these parameters may explain again, with its image."""
    image, mean, std, seed, item = (sample[key] for key in ("image", "mean", "std", "seed", "item"))
    yield {"edit": "unchanged"}, image
    if "radius" in parameters:
        key = philox.key(seed, item, "max-sensitivity@1", "noise")
        for draw in range(parameters["samples"]):
            u = philox.uniforms(key, draw, image[0].size)[: len(image)].reshape(image.shape)
            yield ({"edit": "noise", "draw": draw, "radius": parameters["radius"]}, image + parameters["radius"] * (2 * u - 1))
    if "shift" in parameters:
        yield {"edit": "offset", "amount": parameters["shift"]}, image + parameters["shift"]
    if "shifts" in parameters:
        _, H, W = image.shape
        filled = fills.fill(parameters["fill"], image, mean, std, seed, item)
        for d in range(1, parameters["shifts"] + 1):
            for down, across in ((d, d), (0, d), (d, 0)):
                moved = filled.copy()
                moved[:, down:, across:] = image[:, : H - down, : W - across]
                yield {"edit": "translation", "down": down, "across": across, "fill": parameters["fill"]}, moved
    elif "fill" in parameters and parameters["fill"] in ("black", "mean", "blur"):
        shown = masking.masked(image, sample["attribution"], mean, std, seed, item, keep=100, mask="soft",
                               fill=parameters["fill"], ties="index")
        yield {"edit": "masked", "keep": 100, "fill": parameters["fill"]}, shown


def named(image: np.ndarray, candidates: Sequence[tuple[Edit, np.ndarray]]) -> Edit:
    """Which of these edits the image is. Raises LookupError for an image that is none of them."""
    for edit, shown in candidates:
        if np.allclose(image, shown, rtol=0, atol=1e-9):
            return edit
    raise LookupError("an oracle showed the explainer an image that the protocol has no words for")
