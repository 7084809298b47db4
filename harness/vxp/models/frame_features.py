"""What a model of images sees in frames of a video: the representation before its last layer, as summarisers take it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import vxp_schemas
from torch import Tensor

from vxp.core import VxpError
from vxp.documents import shots, store
from vxp.machine import caches
from vxp.models.layers import last_linear_input
from vxp.models.loaded import Model

STEP = 6
"""Frames from one picked frame to the next."""
BATCH = 8
"""Frames of one pass. It is fixed, since the last bits may depend on it."""


@dataclass(frozen=True, eq=False)
class Features:
    """Features float32 [n, D] of the picked frames of a video, by their numbers."""

    values: Tensor
    picks: tuple[int, ...]

    @property
    def digest(self) -> str:
        """`sha256:` of the values as little-endian float32 in C order. Another processor may give other last bits."""
        return f"sha256:{hashlib.sha256(self.values.contiguous().numpy().tobytes()).hexdigest()}"


def picked(frames: int, step: int = STEP) -> tuple[int, ...]:
    """The frames that are looked at: 0, step, 2*step, ..."""
    return tuple(range(0, frames, step))


def fragment_of(picks: Sequence[int], segments: Sequence[tuple[int, int]]) -> Tensor:
    """int64 [n]: the number of the half-open segment that holds each pick. VxpError for a pick in none."""
    return torch.tensor(shots.fragments_of(picks, segments), dtype=torch.int64)


@torch.no_grad()
def pooled(model: Model, frames: Tensor) -> Tensor:
    """float32 [n, D] of frames uint8 [3, n, H, W]: the input of the model's last linear layer, which is what its last features
    are pooled to. VxpError for a model without one."""
    found = []
    for some in frames.movedim(1, 0).split(BATCH):
        inputs = model.normalization.to_inputs(some.float() / 255).contiguous(memory_format=torch.channels_last)
        with last_linear_input(model.module) as seen:
            model.module(inputs)
        if not seen or len(seen[0]) != len(some):
            raise VxpError(f"model {model.id} has no linear layer that sees one vector per image, so it gives no features: "
                           "choose another")
        found.append(seen[0].float().cpu())
    return torch.cat(found)


def features(model: Model, video: Tensor, *, step: int = STEP, folder: Path | None = None) -> Features:
    """Features of every step-th frame of a video uint8 [3, T, H, W].

    They are kept in a folder, by default `features` in the cache of all checkouts, by the content of model and frames, and read
    again from there. A file that cannot be read is made anew.
    """
    picks = picked(video.shape[1], step)
    frames = video[:, list(picks)]
    file = (folder or caches() / "features") / f"{_name(model, frames)}.safetensors"
    kept = _kept(file)
    if kept is not None and kept.ndim == 2 and len(kept) == len(picks):
        return Features(kept, picks)
    made = pooled(model, frames)
    file.parent.mkdir(parents=True, exist_ok=True)
    store.write_bytes(file, safetensors.torch.save({"features": made}))
    return Features(made, picks)


def _name(model: Model, frames: Tensor) -> str:
    """What the features follow from: weights, normalization, frames, and the torch that computes."""
    pixels = hashlib.sha256(frames.movedim(0, -1).contiguous().numpy().tobytes()).hexdigest()
    facts = [model.digest, list(model.normalization.mean), list(model.normalization.std), pixels, list(frames.shape), BATCH,
             str(torch.__version__)]
    return hashlib.sha256(vxp_schemas.canonical(facts)).hexdigest()


def _kept(file: Path) -> Tensor | None:
    try:
        return safetensors.torch.load(file.read_bytes())["features"]
    except (OSError, KeyError, safetensors.SafetensorError):
        return None


__all__ = ["STEP", "Features", "features", "fragment_of", "picked", "pooled"]
