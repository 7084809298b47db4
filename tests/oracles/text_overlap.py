"""Text overlap: the cosine of the vectors of two texts (Eleftheriadis et al. 2025)."""

from collections.abc import Mapping

import numpy as np

from oracles import encoder as pinned
from oracles import removals, texts

VARIANTS = [{"encoder": "all-minilm-l6-v2-fbcdc979"}]


def text_overlap(payload: np.ndarray, truths: Mapping[str, np.ndarray], *, encoder: str) -> float:
    if encoder != VARIANTS[0]["encoder"]:
        raise LookupError(f"{encoder} is not the pinned encoder")
    one, other = (str(removals.said(rows)["text"]) for rows in (payload, truths["texts"]))
    vectors = {text: pinned.vector(text) for text in (one, other) if text.strip()}
    return texts.overlap(one, other, vectors)
