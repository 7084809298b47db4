"""What a model is, by content: the digest of its weights and its answers to a fixed probe."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import torch
import vxp_schemas
from torch import Tensor, nn
from vxp_schemas import typed

from vxp import outputs, random
from vxp.core import Normalization
from vxp.models.clips import Fusion

PROBE = 8
ATOL = 2e-2
"""Probe logits are kept to two digits, so that threads and kernels do not change the document."""


def state_dict_digest(model: nn.Module) -> str:
    """sha256 over the entries sorted by key bytes: key length (int64 LE), key, dtype name, number of dimensions and
    shape (int64 LE), then the raw little-endian bytes in C order."""
    hasher = hashlib.sha256()
    for key, value in sorted(model.state_dict().items(), key=lambda kv: kv[0].encode()):
        name = key.encode()
        tensor = value.detach().cpu().contiguous()
        hasher.update(struct.pack("<q", len(name)) + name + str(tensor.dtype).removeprefix("torch.").encode())
        hasher.update(struct.pack(f"<{1 + tensor.ndim}q", tensor.ndim, *tensor.shape))
        hasher.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{hasher.hexdigest()}"


def probe_inputs(size: Sequence[int], normalization: Normalization) -> Tensor:
    """8 fixed inputs [8, 3, *size]: raw values uniform by Philox, purpose `probe@1`, stream = the number of the input."""
    keys = [random.key(0, "", "probe@1", str(i)) for i in range(PROBE)]
    raw = torch.stack([random.uniforms(key, 0, math.prod(size), 3).view(3, *size) for key in keys])
    return normalization.to_inputs(raw, len(size))


PROBES = {False: "vxp.models.identity.probe_inputs: uniform raw values by Philox, purpose probe@1",
          True: "vxp.models.identity.probe_sequences: uniform features by Philox, purpose probe@1"}
"""How the inputs of a probe are made, of sequences or else."""


def probe_sequences(size: Sequence[int]) -> Tensor:
    """8 fixed inputs [8, D, n] of size (n, D), uniform in [0, 1) by Philox, purpose `probe@1`, stream = the number of the
    input, position t*D + d for feature d of step t."""
    keys = [random.key(0, "", "probe@1", str(i)) for i in range(PROBE)]
    return torch.stack([random.uniforms(key, 0, math.prod(size)).view(*size).T for key in keys]).contiguous()


@dataclass(frozen=True)
class Card:
    """What a model is called, and under which licence it is; symbol: what builds it."""

    id: str
    title: str
    license: str
    symbol: str
    status: Literal["active", "unregistered"] = "active"


class More(TypedDict, total=False):
    """Fields of a model document that a family of models says by itself."""

    load_name: str
    input: typed.ModelInput
    fusion: Fusion


@dataclass(frozen=True)
class Takes:
    """What goes into a model and comes out: the size of an input without its channels, what its raw pixels are brought to, and
    how many logits there are."""

    size: Sequence[int]
    normalization: Normalization
    classes: int


def described(module: nn.Module, card: Card, takes: Takes, more: More | None = None) -> typed.Model:
    """The model document of a loaded model, with digest and probe, so that silent changes of either are caught."""
    normalization, says = takes.normalization, outputs.of(module)
    sequence = not says.targets and len(takes.size) == 2
    inputs = probe_sequences(takes.size) if sequence else probe_inputs(takes.size, normalization)
    with torch.no_grad():
        logits = torch.cat([says.checked(module(x[None]), x[None]) for x in inputs])
    bytes_ = inputs.contiguous().numpy().tobytes()
    document: typed.Model = {
        "type": "https://vxp.example/model/v1", "spec_version": vxp_schemas.SPEC_VERSION, "extensions": {},
        "id": card.id, "version": 1, "title": card.title, "status": card.status, "license": card.license,
        "architecture": {"symbol": card.symbol}, "state_dict_digest": state_dict_digest(module),
        "num_params": sum(p.numel() for p in module.parameters()), "eval_mode": True,
        "input": {"size": list(takes.size), "channels": "rgb",
                  "normalization": {"mean": list(normalization.mean), "std": list(normalization.std)}},
        "classes": {"count": takes.classes},
        "probe": {"inputs": PROBES[sequence],
                  "inputs_digest": f"sha256:{hashlib.sha256(bytes_).hexdigest()}",
                  "logits": [[round(v, 2) + 0.0 for v in row[:8].tolist()] for row in logits], "atol": ATOL},
    }
    if says is not outputs.CLASSES:
        document["output"] = says.id
    if sequence:
        del document["input"]["channels"]
    return document if more is None else {**document, **more}
