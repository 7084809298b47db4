"""The public libraries beside VXP: one small model, images and maps for all; skipped where the extra `peers` is not installed.

With VXP_PEERS=required (as CI has it) a missing library is an error and not a skip. With VXP_MEASURE=1 the tests print what
they measure and do not compare it with the page: that is how docs/differences.json is made anew.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vxp
from torch import Tensor, nn
from vxp.core import Batch, Normalization, Stream, perturb

DIFFERENCES = Path(__file__).parents[2] / "docs" / "differences.json"


def library(name: str) -> Any:
    """The library, or a skip; an error where it is required."""
    if os.environ.get("VXP_PEERS") == "required":
        return importlib.import_module(name)
    # ImportError and not only a missing module: OpenCV without its system libraries is installed and does not load
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install 'vxp[peers]'", exc_type=ImportError)


@pytest.fixture(scope="session")
def quantus() -> Any:
    return library("quantus")


@pytest.fixture(autouse=True)
def _numpy_as_the_libraries_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """quantus 0.6.0 and pysaliency 0.2.22 call np.trapz, which NumPy 2.4 took away; only they may see it again."""
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)


@dataclass(frozen=True, eq=False)
class Setup:
    """A model with images and maps of distinct values; with one input channel a channel value is a position."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    maps: Tensor
    mask: Tensor

    def ours(self, metric: str, **arguments: Any) -> vxp.Score:
        scores = vxp.score(self.model, self.inputs, self.maps, self.targets, metrics=[metric],
                           **{"truth": {"mask": self.mask, "cells": self.mask}} | arguments)
        return scores[next(iter(scores))]

    def theirs(self, metric: Any, *, softmax: bool = False, truth: bool = False, maps: Tensor | None = None,
               only: slice = slice(None), **arguments: Any) -> Any:
        """A metric of quantus on the same tensors; it writes into what it is given, so it gets copies."""
        arrays = {"x_batch": self.inputs[only].numpy().copy(), "y_batch": self.targets[only].numpy().copy(),
                  "a_batch": (self.maps if maps is None else maps)[only, None].numpy().copy()}
        if truth:
            arrays["s_batch"] = self.mask[only, None].numpy().astype(np.float32)
        with np.errstate(all="ignore"):
            return metric(model=self.model, **arrays, softmax=softmax, device="cpu", **arguments)

    def batch(self) -> Batch:
        """As vxp.score makes it: what keys the draws."""
        channels = self.inputs.shape[1]
        plain = Normalization((0.0,) * channels, (1.0,) * channels)
        return Batch(tuple(map(str, range(len(self.inputs)))), self.inputs, self.targets, plain)


SIZE = 56
P = SIZE * SIZE
QUIET = {"normalise": False, "abs": False, "disable_warnings": True}
BLACK = {"perturb_baseline": 0.0}
"""Their "black" is the smallest value of the image, which need not be black."""


def small_model(channels: int = 1) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Conv2d(channels, 6, 5, stride=2, padding=2), nn.Tanh(), nn.Conv2d(6, 8, 3, stride=2, padding=1),
                          nn.Tanh(), nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten(), nn.Linear(128, 5)).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0.0, 0.4, generator=generator)
    return model


def setup_of(channels: int) -> Setup:
    generator = torch.Generator().manual_seed(11)
    model = small_model(channels)
    inputs = torch.rand(3, channels, SIZE, SIZE, generator=generator)
    with torch.no_grad():
        targets = model(inputs).argmax(1)
    maps = torch.rand(3, SIZE, SIZE, generator=generator)
    mask = torch.zeros(3, SIZE, SIZE, dtype=torch.bool)
    mask[0, 5:30, 8:40], mask[1, 20:50, 3:20], mask[2, 30:55, 30:55] = True, True, True
    return Setup(model, inputs, targets, maps, mask)


@pytest.fixture(scope="session")
def grey() -> Setup:
    return setup_of(1)


@pytest.fixture(scope="session")
def rgb() -> Setup:
    return setup_of(3)


class Linear(nn.Module):
    """Logits w.x and 0, so that w*x is the exact attribution and every faithful score is known."""

    def __init__(self, channels: int, size: int = 16) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.w = nn.Parameter(torch.randn(channels, size, size, generator=generator) / 8)

    def forward(self, x: Tensor) -> Tensor:
        total = (x * self.w).flatten(1).sum(1)
        return torch.stack([total, torch.zeros_like(total)], 1)


def linear(channels: int = 1, items: int = 8, size: int = 16) -> Setup:
    model = Linear(channels, size).eval()
    inputs = torch.rand(items, channels, size, size, generator=torch.Generator().manual_seed(1)) + 0.1
    maps = (inputs * model.w).sum(1).detach()
    mask = torch.zeros(items, size, size, dtype=torch.bool)
    mask[:, 2:9, 3:12] = True
    return Setup(model, inputs, torch.zeros(items, dtype=torch.long), maps, mask)


class Bright(nn.Module):
    """Class 0 where the weighted brightness is above a threshold, so that removing pixels changes the class at some rate."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.rand(1, SIZE, SIZE, generator=torch.Generator().manual_seed(5)))

    def forward(self, x: Tensor) -> Tensor:
        total = ((x - 0.5) * self.w).flatten(1).sum(1)
        return torch.stack([total, torch.full_like(total, 30.0)], 1)


def bright() -> Setup:
    """Six images from dark to bright, of which each keeps its class up to another rate."""
    model = Bright().eval()
    inputs = torch.rand(6, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(7))
    inputs = (inputs + torch.linspace(0.05, 0.25, 6).view(-1, 1, 1, 1)).clamp(0, 1)
    maps = ((inputs - 0.5) * model.w).sum(1).detach()
    return Setup(model, inputs, torch.zeros(6, dtype=torch.long), maps, torch.zeros(6, SIZE, SIZE, dtype=torch.bool))


SIDE, ITEMS = 32, 8


class Texture(nn.Module):
    """Class 0 for an image with fine structure, class 1 for a smooth one: what interpolation takes away comes back pixel by
    pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(5)) ** 3)

    def forward(self, x: Tensor) -> Tensor:
        fine = (x - nn.functional.avg_pool2d(x, 3, 1, 1)).abs().mean(1)
        amount = 150 * ((fine * self.w).flatten(1).mean(1) - 0.012)
        return torch.stack([amount, -amount], 1)


@pytest.fixture(scope="session")
def photos() -> Setup:
    """8-bit images: six with texture, of which the last is said to be smooth, and two that are smooth, the last of one colour.
    Maps without order, with many ties, and smooth ones in turn."""
    generator = torch.Generator().manual_seed(8)
    ground = nn.functional.interpolate(torch.rand(ITEMS, 3, 5, 5, generator=generator), size=(SIDE, SIDE), mode="bilinear")
    inputs = 0.7 * ground + 0.3 * torch.rand(ITEMS, 3, SIDE, SIDE, generator=generator)
    inputs[6], inputs[7] = ground[6], 0.4
    maps = torch.rand(ITEMS, SIDE, SIDE, generator=generator)
    coarse = torch.rand(ITEMS, 1, 6, 6, generator=generator)
    maps[1::3] = (maps[1::3] * 6).floor() / 6
    maps[2::3] = nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")[2::3, 0]
    targets = torch.tensor([0, 0, 0, 0, 0, 1, 0, 1])
    mask = torch.zeros(ITEMS, SIDE, SIDE, dtype=torch.bool)
    return Setup(Texture().eval(), (inputs * 255).round() / 255, targets, maps, mask)


def gradient(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    """Gradients [B, 1, H, W] of the targets' logits, channels summed: what quantus takes for an explanation function."""
    x = torch.as_tensor(np.asarray(inputs)).float().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(model(x).gather(1, torch.as_tensor(np.asarray(targets)).long()[:, None]).sum(), x)
    return found.sum(1, keepdim=True).detach().numpy()


def gradient_map(model: nn.Module, batch: Batch) -> Tensor:
    """The same, as VXP takes it."""
    return torch.from_numpy(gradient(model, batch.inputs, batch.targets))[:, 0]


def explained(setup: Setup) -> Setup:
    """The setup with its gradients as maps."""
    maps = torch.from_numpy(gradient(setup.model, setup.inputs, setup.targets))[:, 0]
    return Setup(setup.model, setup.inputs, setup.targets, maps, setup.mask)


def noisy(setup: Setup, samples: int, radius: float = 0.2) -> list[np.ndarray]:
    """VXP's noisy inputs [B, C*H*W] of every draw."""
    batch = setup.batch()
    return [torch.stack([setup.inputs[i] + perturb.input_noise(batch, i, Stream("max-sensitivity@1", "noise"), draw, radius)
                         for i in range(len(batch))]).flatten(1).numpy() for draw in range(samples)]


@pytest.fixture(autouse=True)
def _global_generators_as_before() -> Iterator[None]:
    """The libraries read and seed them."""
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    yield
    torch.set_rng_state(torch_state)
    np.random.set_state(numpy_state)


def agree(name: str, theirs: Any, ours: Any, within: float = 1e-5) -> None:
    """Both are the same numbers, and are numbers."""
    a, b = (np.asarray(v, dtype=np.float64) for v in (theirs, ours))
    assert a.shape == b.shape, f"{name}: {a.shape} and {b.shape}"
    assert np.isfinite(a).all(), name
    assert np.isfinite(b).all(), name
    apart = float(np.abs(a - b).max())
    if os.environ.get("VXP_MEASURE"):
        print(f"AGREE {name} {apart:.1e}")
    assert apart < within, f"{name}: {a} and {b}"


def measured(name: str, value: float | str) -> None:
    """Hold a number to what the page shows of it under library/row/what: the same text, or equal to the digits shown."""
    if os.environ.get("VXP_MEASURE"):
        print(f"MEASURED {name} {value}")
        return
    shown = json.loads(DIFFERENCES.read_text(encoding="utf-8"))[name]
    if isinstance(value, str):
        assert shown == value, name
        return
    digits = len(shown.partition(".")[2])
    # half a unit of the last digit is rounding; the rest is what another machine's float32 may change
    assert abs(float(shown) - value) <= 0.6 * 10.0**-digits, f"{name}: the page says {shown}, measured {value}"
