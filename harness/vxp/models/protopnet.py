"""A small prototype network: an image is of the class of whose parts it has patches (Chen et al. 2019, arXiv:1806.10574).

1. A convolutional network brings an image to features z [D, h, w] in (0, 1). One cell sees a window of WINDOW pixels.
2. d(p, y, x) = |z(y, x) - prototype p|^2; the similarity is log((d + 1) / (d + EPS)), so its maximum is log(1 / EPS).
3. The score of a prototype is its largest similarity over the cells, and the logits are a linear layer of the scores without
   bias. Every prototype belongs to one class, `of`, and is the features of one cell of a training image of that class, after it
   has been projected: `Patch` says of which image.

The network has four convolutions, where the paper takes one that is trained on ImageNet: a cell is to see about one part of a
figure, and not the whole image.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-4
STRIDE, WINDOW = 4, 25
"""Pixels from a cell to the next, and of the side of the square that a cell sees."""
DIMENSIONS = 32


@dataclass(frozen=True)
class Patch:
    """Where a prototype comes from: a training image by seed and class, and a cell (y, x) of its features."""

    seed: int
    figure: int
    cell: tuple[int, int]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The window of the cell as (x0, y0, x1, y1), half-open, which may reach beyond the image."""
        return window(*self.cell)


def patches(name: str = "figures-protopnet") -> tuple[Patch, ...]:
    """The patches that the prototypes of a model of this package are of, in the order of the prototypes."""
    log = json.loads((files("vxp") / "assets" / f"{name}.json").read_text())
    return tuple(Patch(one["seed"], one["class"], (one["cell"][0], one["cell"][1])) for one in log["prototypes"])


def window(y: int, x: int) -> tuple[int, int, int, int]:
    """The pixels that a cell sees, (x0, y0, x1, y1), half-open; they may reach beyond the image, where zeros are seen."""
    left, top = x * STRIDE - WINDOW // 2, y * STRIDE - WINDOW // 2
    return left, top, left + WINDOW, top + WINDOW


def _block(inside: int, outside: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]


class ProtoPNet(nn.Module):
    """64x64 inputs, features [B, 32, 16, 16], `each` prototypes per class, P in all.

    prototypes [P, D]; of int64 [P]: the class of each; head.weight [K, P]: what the similarity to each adds to each logit.
    """

    of: Tensor

    def __init__(self, classes: int, each: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(3, 24, kernel=5, stride=2), *_block(24, 48, stride=2), *_block(48, 64), *_block(64, 64),
            nn.Conv2d(64, DIMENSIONS, 1), nn.Sigmoid())
        self.prototypes = nn.Parameter(torch.rand(classes * each, DIMENSIONS))
        self.register_buffer("of", torch.arange(classes).repeat_interleave(each))
        self.head = nn.Linear(classes * each, classes, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.where(self.own(), 1.0, -0.5))

    def own(self) -> Tensor:
        """bool [K, P]: whether the prototype belongs to the class."""
        classes = torch.arange(self.head.out_features, device=self.of.device)
        return classes[:, None] == self.of

    def distances(self, x: Tensor) -> Tensor:
        """The squared distance of every cell's features to every prototype, [B, P, h, w]."""
        return self.distances_of(self.features(x))

    def distances_of(self, z: Tensor) -> Tensor:
        """The same of features [B, D, h, w], as |z|^2 - 2 z.p + |p|^2."""
        crossed = F.conv2d(z, self.prototypes[:, :, None, None])
        lengths = (self.prototypes**2).sum(1)[:, None, None]
        return F.relu((z**2).sum(1, keepdim=True) - 2 * crossed + lengths)

    def similarities(self, x: Tensor) -> Tensor:
        """log((d + 1) / (d + EPS)) of every cell and prototype, [B, P, h, w]."""
        return similarity(self.distances(x))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.similarities(x).amax((2, 3)))
        return logits


def similarity(distance: Tensor) -> Tensor:
    """log((d + 1) / (d + EPS)) of squared distances, elementwise."""
    return torch.log((distance + 1) / (distance + EPS))
