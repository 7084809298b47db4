"""The sentence encoder of explanations in words, all-MiniLM-L6-v2: one text to its vector, in NumPy, from the files of its
wheel.

Words are cut as BERT cuts them (Devlin et al. 2019, arXiv:1810.04805; WordPiece): characters that are not shown go, accents and
case go, signs of punctuation and CJK characters are words of their own, and a word is cut into the longest pieces of the
vocabulary from its start. The network has six layers; a text's vector is the mean over its tokens, of unit length.
"""

import json
import struct
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.special import erf

PACKAGE, LONGEST, LAYERS, HEADS, EPSILON = "all_minilm_l6_v2", 256, 6, 12, 1e-12
CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF),
       (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
TOO_LONG = 100
"""Characters of a word that is not cut."""


@cache
def vocabulary() -> Mapping[str, int]:
    found: Mapping[str, int] = json.loads(archive().read("tokenizer.json"))["model"]["vocab"]
    return found


@cache
def weights() -> Mapping[str, np.ndarray]:
    """The tensors of a safetensors file, all of them floats of 4 bytes or whole numbers."""
    data = archive().read("model.safetensors")
    (size,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    header.pop("__metadata__", None)
    types = {"F32": "<f4", "I64": "<i8"}
    return {name: np.frombuffer(body[slice(*facts["data_offsets"])], types[facts["dtype"]]).reshape(facts["shape"])
            for name, facts in header.items()}


@cache
def archive() -> zipfile.ZipFile:
    """Raises ModuleNotFoundError where the wheel is not installed."""
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"no module named {PACKAGE}", name=PACKAGE)
    return zipfile.ZipFile(Path(found.submodule_search_locations[0]) / "model.zip")


# --------------------------------------------------------------------------------------------------------------- tokens


def tokens(text: str) -> list[int]:
    """The numbers of a text's pieces, with one at either end that marks it."""
    known = vocabulary()
    found = [known[piece] for word in words(text) for piece in pieces(word)]
    return [known["[CLS]"], *found[: LONGEST - 2], known["[SEP]"]]


def words(text: str) -> list[str]:
    shown = "".join(spaced(c) for c in text if c not in "\0\ufffd" and (c in "\t\n\r" or not hidden(c)))
    plain = "".join(c for c in unicodedata.normalize("NFD", shown) if unicodedata.category(c) != "Mn").lower()
    return "".join(f" {c} " if punctuation(c) else c for c in plain).split()


def hidden(c: str) -> bool:
    return unicodedata.category(c) in ("Cc", "Cf", "Cn", "Co")


def spaced(c: str) -> str:
    if any(first <= ord(c) <= last for first, last in CJK):
        return f" {c} "
    return " " if c.isspace() else c


def punctuation(c: str) -> bool:
    return c in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" or unicodedata.category(c).startswith("P")


def pieces(word: str) -> list[str]:
    """The longest piece of the vocabulary at the start, then of what is left; `[UNK]` for a word that cannot be cut."""
    if len(word) > TOO_LONG:
        return ["[UNK]"]
    found: list[str] = []
    while word:
        marked = ["##" + word[:n] if found else word[:n] for n in range(len(word), 0, -1)]
        piece = next((one for one in marked if one in vocabulary()), None)
        if piece is None:
            return ["[UNK]"]
        found.append(piece)
        word = word[len(piece.removeprefix("##") if len(found) > 1 else piece) :]
    return found


# -------------------------------------------------------------------------------------------------------------- network


def vector(text: str) -> list[float]:
    """The vector of a text, 384 numbers."""
    word, position, kind = (np.asarray(weights()[f"embeddings.{name}_embeddings.weight"], float)
                            for name in ("word", "position", "token_type"))
    x = normed("embeddings", np.stack([word[token] + position[place] + kind[0] for place, token in enumerate(tokens(text))]))
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        x = normed(f"{layer}.attention.output", x + linear(f"{layer}.attention.output.dense", attended(layer, x)))
        wide = linear(f"{layer}.intermediate.dense", x)
        wide = wide * (1 + erf(wide / np.sqrt(2))) / 2
        x = normed(f"{layer}.output", x + linear(f"{layer}.output.dense", wide))
    mean = x.mean(axis=0)
    return [float(v) for v in mean / np.sqrt((mean * mean).sum())]


def attended(layer: str, x: np.ndarray) -> np.ndarray:
    query, key, value = (list(heads(linear(f"{layer}.attention.self.{name}", x))) for name in ("query", "key", "value"))
    found = []
    for q, k, v in zip(query, key, value, strict=True):
        agree = np.exp((scores := q @ k.T / np.sqrt(q.shape[1])) - scores.max(axis=1, keepdims=True))
        found.append(agree / agree.sum(axis=1, keepdims=True) @ v)
    return np.concatenate(found, axis=1)


def heads(x: np.ndarray) -> Iterator[np.ndarray]:
    width = x.shape[1] // HEADS
    for head in range(HEADS):
        yield x[:, head * width : (head + 1) * width]


def linear(name: str, x: np.ndarray) -> np.ndarray:
    return np.asarray(x @ weights()[f"{name}.weight"].astype(float).T + weights()[f"{name}.bias"])


def normed(name: str, x: np.ndarray) -> np.ndarray:
    away = x - x.mean(axis=1, keepdims=True)
    spread = np.sqrt((away * away).mean(axis=1, keepdims=True) + EPSILON)
    return np.asarray(away / spread * weights()[f"{name}.LayerNorm.weight"] + weights()[f"{name}.LayerNorm.bias"])
