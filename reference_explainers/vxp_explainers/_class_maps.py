"""The networks that turn features of a model into class maps, how they are trained, and what tells the methods apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import vxp_schemas
from torch import Tensor, nn
from torch.nn import functional as F
from vxp import models
from vxp.core import Batch, Normalization

FINEST = 56
"""The largest grid of a TAME map, as in the authors' code."""
LINEAR = {2: "bilinear", 3: "trilinear"}
"""How F.interpolate calls linear in all axes, by how many there are: 2 of images, 3 of clips."""
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "sigmoid": torch.sigmoid}


# -------------------------------------------------------------------------------------------------------- the networks


class LCam(nn.Module):
    """One 1x1 convolution from features [B, C, h, w] to class maps [B, K, h, w]: (C + 1)*K parameters."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, classes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        out: Tensor = self.maps(features[0])
        return out


class Tame(nn.Module):
    """Z_i = up(act(BN(W_i*F_i + b_i) + F_i)) for each feature map F_i; C = a 1x1 convolution of all Z_i beside each other.

    up is bilinear (align_corners=False) to the grid of the first feature map, 56 at most. Ablations: without skip the F_i
    is not added, without norm there is no BN, activation `sigmoid` takes the ReLU's place in the branches. Of clips (3 axes)
    the features are [B, C, t, h, w], the convolutions 1x1x1, and up is trilinear.
    """

    def __init__(self, channels: Sequence[int], classes: int, *, skip: bool = True, norm: bool = True,
                 activation: str = "relu", fuser_bias: bool = True, axes: int = 2) -> None:
        super().__init__()
        convolution, batch_norm = (nn.Conv2d, nn.BatchNorm2d) if axes == 2 else (nn.Conv3d, nn.BatchNorm3d)
        self.skip = skip
        self.activation: Callable[[Tensor], Tensor] = ACTIVATIONS[activation]
        self.branches = nn.ModuleList(convolution(c, c, 1) for c in channels)
        self.norms = nn.ModuleList(batch_norm(c) if norm else nn.Identity() for c in channels)
        self.fuser = convolution(sum(channels), classes, 1, bias=fuser_bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        size = [min(side, FINEST) for side in features[0].shape[2:]]
        branches = []
        for feature, convolution, norm in zip(features, self.branches, self.norms, strict=True):
            z = norm(convolution(feature))
            z = self.activation(z + feature if self.skip else z)
            branches.append(F.interpolate(z, size=size, mode=LINEAR[len(size)], align_corners=False))
        out: Tensor = self.fuser(torch.cat(branches, dim=1))
        return out


def built(facts: Mapping[str, Any]) -> nn.Module:
    """The network that a card describes."""
    if facts["kind"] == "l-cam":
        return LCam(facts["channels"][0], facts["classes"])
    return Tame(facts["channels"], facts["classes"], skip=facts["skip"], norm=facts["norm"], activation=facts["activation"],
                fuser_bias=facts["fuser_bias"], axes=facts.get("axes", 2))


# ---------------------------------------------------------------------------------------------------------- the recipes


@dataclass(frozen=True)
class Recipe:
    """How class maps are trained.

    layers: dotted module names joined by +, by default the published ones of the backbone, else those that are found.
    skip, norm, activation: ablations of TAME. cross_entropy, area, variation: weights of the three terms (1, 0 and 0 are the
    cross-entropy-only variants); area_power of the area term. regularised: which maps the two regularisers look at
    (see `regularised_maps`). labels: the class is what the model `predicted` for the image as it is shown, or is `given`
    with it. mask_space: the mask multiplies the `raw` image in [0, 1], or the `normalized` one. flip: every image is
    mirrored with probability 1/2. optimiser `sgd` (Nesterov) or `adamw` (amsgrad); rate of the weights, that of biases is
    bias_rate times as large; decay is weight decay, of biases too where decay_biases. schedule: `one-cycle` over all steps
    (PyTorch's defaults, rate is its maximum), or `epochs`, the rate times gamma after each of the first gamma_epochs.
    """

    layers: str | None = None
    skip: bool = True
    norm: bool = True
    activation: str = "relu"
    cross_entropy: float = 1.5
    area: float = 2.0
    variation: float = 0.01
    area_power: float = 0.3
    regularised: str = "batch"
    labels: str = "predicted"
    mask_space: str = "raw"
    flip: bool = True
    optimiser: str = "sgd"
    momentum: float = 0.9
    rate: float = 1e-3
    bias_rate: float = 2.0
    decay: float = 5e-4
    decay_biases: bool = False
    schedule: str = "one-cycle"
    gamma: float = 1.0
    gamma_epochs: int = 0
    epochs: int = 8
    batch: int = 32


CHOICES = {"regularised": ("own", "batch"), "labels": ("predicted", "given"), "mask_space": ("raw", "normalized"),
           "optimiser": ("sgd", "adamw"), "schedule": ("one-cycle", "epochs"), "activation": tuple(ACTIVATIONS)}


def backbone(model: nn.Module) -> str:
    """The published recipe that fits a model: vgg16, resnet50 or vit by the kind of network, else `other`."""
    kinds = {"VGG": "vgg16", "ResNet": "resnet50", "VisionTransformer": "vit"}
    return kinds.get(type(model).__name__, "other")


def published_layers(model: nn.Module, which: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """The layers that a method was published with, where the model has all of them."""
    names = which.get(backbone(model), ())
    known = dict(model.named_modules())
    if backbone(model) == "vgg16" and len(getattr(model, "features", ())) != 31:
        return None  # another depth, or with batch norm: the numbers mean other layers
    return names if names and all(name in known for name in names) else None


@dataclass(frozen=True)
class Design:
    """What tells the methods apart: the network's kind, its default layers for a model, what the mask multiplies
    (`features` or `image`), and for a model known only by its answers the network whose features are read."""

    id: str
    kind: str
    layers: Callable[[nn.Module, Tensor], Sequence[str]]
    masked: str = "image"
    features: str | None = None
    fuser_bias: bool = True


# ------------------------------------------------------------------------------------------------- what the maps are of


def structure(model: nn.Module) -> str:
    """SHA-256 of the names and shapes of a model's state: the same for the same architecture with other weights, so that a
    randomised copy is explained by what was trained for the original."""
    rows = [[key, list(value.shape)] for key, value in sorted(model.state_dict().items())]
    return f"sha256:{hashlib.sha256(vxp_schemas.canonical(rows)).hexdigest()}"


@dataclass(frozen=True, eq=False)
class Reader:
    """A network whose features are read in place of the model's."""

    module: nn.Module
    normalization: Normalization

    def batch(self, batch: Batch) -> Batch:
        """The same images as this network takes them."""
        moved = batch.select(range(len(batch)), self.normalization.to_inputs(batch.raw()))
        self.module.to(batch.inputs.device)
        return moved


@cache
def reader_of(name: str | None) -> Reader | None:
    """The feature network of this name, frozen; None where the model's own features are read."""
    if name is None:
        return None
    loaded = models.load(name)
    for parameter in loaded.module.parameters():
        parameter.requires_grad_(False)
    return Reader(loaded.module.eval(), loaded.normalization)
