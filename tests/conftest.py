"""What the tests of the metrics share: a small model, images, maps and truths; ranks that do not hang on rounding."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

# the oracles are a package beside the tests; vxp itself is taken from where it is installed
sys.path.insert(0, str(Path(__file__).parent))

from oracles import randomise
from vxp.core import Batch, Normalization
from vxp.core.segments import slic
from vxp.machine import keep_freed_memory

H, W, CLASSES = 24, 32, 5
LONG = (
    "test_tutorial", "test_audit", "test_docs", "test_howto_metric", "test_howto_explainer", "test_howto_task",
    "test_howto_kind", "test_cluster", "test_conformance", "test_mutations", "test_leaderboard",
    "test_kills", "test_signing", "test_run", "test_explainers", "test_explainers_more", "test_bench", "test_metric_faults",
    "test_divergence", "test_agreement", "test_properties", "test_red_team", "test_stamps_video", "test_cuts")
"""Files that take about half a minute and more, the longest first."""
MEAN, STD = (0.48, 0.45, 0.4), (0.23, 0.22, 0.25)


def pytest_configure() -> None:
    """One thread: the tests' tensors are small, and threads that wait for a core cost more than they bring. And freed memory
    stays, as in a run. Nothing waits for the disk: what that helps against, a loss of power, no test can bring about."""
    torch.set_num_threads(1)
    keep_freed_memory()
    os.fsync = lambda handle: None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: one that began last would keep a single worker busy, long after the others are done."""
    place = {name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def pieces() -> Tensor:
    """Five parts of an image, int64 [H, W], one of a single position; -1 where there is none."""
    found = torch.full((H, W), -1)
    found[1:6, 2:9], found[4:20, 11:19], found[8:14, :7], found[20:23, 10:22], found[0, 31] = 0, 1, 2, 3, 4
    return found


PIECES = pieces()


@dataclass(frozen=True)
class Done:
    """What became of a command."""

    returncode: int
    stdout: str
    stderr: str


Vxp = Callable[..., Done]


@pytest.fixture
def run_vxp(capsys: pytest.CaptureFixture[str]) -> Vxp:
    """`vxp` in this process: a process of its own imports torch for seconds before it does anything. That the installed command
    starts, ends and is stopped as it should is for test_cli, test_tutorial and test_kills to prove."""
    from bundle_tools import exit_code

    def run(*arguments: str | Path, folder: Path | None = None) -> Done:
        capsys.readouterr()
        code = exit_code([str(a) for a in arguments], 200, folder)
        said = capsys.readouterr()
        return Done(int(code or 0), said.out, said.err)

    return run


def small_cnn(seed: int = 3) -> nn.Module:
    """Smooth, so that float32 and float64 agree; with a norm layer, so that randomisation meets its statistics."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 5, stride=2, padding=2), nn.BatchNorm2d(6), nn.GELU(),
        nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.Tanh(),
        nn.AdaptiveAvgPool2d((3, 4)), nn.Flatten(), nn.Linear(96, CLASSES),
    ).eval()
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0, generator=generator)
            elif value.is_floating_point():
                value.normal_(0.0, 0.35, generator=generator)
    return model


def gradient_map(model: nn.Module, batch: Any) -> Tensor:
    """|gradient x input| of the target's logit, summed over channels, on a grid of a quarter of the size."""
    x = batch.inputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = model(x)
        (gradient,) = torch.autograd.grad(logits.gather(1, batch.targets[:, None]).sum(), x)
    return nn.functional.avg_pool2d((gradient * x.detach()).abs().sum(1), 4)


@dataclass(frozen=True, eq=False)
class Alone:
    """The least that an explainer looks at."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, eq=False)
class Toy:
    """A model, three items and maps of several kinds, for the production code and for the oracles."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    maps: Mapping[str, Tensor]
    truth: Mapping[str, Tensor]
    normalization: tuple[tuple[float, ...], tuple[float, ...]]
    explainer: Callable[..., Tensor]
    relabelled: nn.Module
    clusters: tuple[str, ...] = ("a", "b", "a")
    seed: int = 7
    pieces: Tensor = PIECES

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of vxp.score that are the same for all maps and metrics."""
        return {"targets": self.targets, "truth": dict(self.truth), "explainer": self.explainer,
                "normalization": self.normalization, "seed": self.seed, "clusters": self.clusters,
                "relabelled": self.relabelled, "objects": self.pieces}

    def sample(self, kind: str, i: int, truth: str | None) -> dict[str, Any]:
        """What an oracle may take of item i, in NumPy."""
        precise = deepcopy(self.model).double()

        def model(image: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                logits: np.ndarray = precise(torch.from_numpy(image)[None])[0].numpy()
            return logits

        def explained(module: nn.Module, image: np.ndarray, target: int) -> np.ndarray:
            alone = Alone(torch.from_numpy(image).float()[None], torch.tensor([target]))
            found: np.ndarray = self.explainer(module, alone)[0].numpy()
            return found

        def explain_randomised(
            stream: str, image: np.ndarray, target: int, mode: str = "all", stage: int = 1, stages: int = 1
        ) -> np.ndarray:
            return explained(randomised(self.model, stream, self.seed, mode, stage, stages), image, target)

        def representation(image: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                found: np.ndarray = precise[:-1](torch.from_numpy(image)[None])[0].numpy()  # type: ignore[index]
            return found

        def explain_compensated(amount: float, image: np.ndarray, target: int) -> np.ndarray:
            first, *rest = self.model
            shifted = nn.Sequential(Less(amount), first, *rest)
            return explained(shifted, image, target)

        def segments(n: int) -> np.ndarray:
            batch = Batch((str(i),), self.inputs[i : i + 1], self.targets[i : i + 1], Normalization(mean, std))
            found: np.ndarray = slic(batch, n)[0].numpy()
            return found

        mean, std = self.normalization
        return {
            "model": model, "image": self.inputs[i].double().numpy(), "attribution": self.maps[kind][i].numpy(),
            "target": int(self.targets[i]), "truth": None if truth is None else self.truth[truth][i].numpy(),
            "truths": {key: value[i].numpy() for key, value in self.truth.items()}, "mean": mean, "std": std,
            "seed": self.seed, "item": str(i),
            "explain": lambda image, target: explained(self.model, image, target),
            "explain_randomised": explain_randomised, "explain_compensated": explain_compensated,
            "explain_relabelled": lambda image, target: explained(self.relabelled, image, target),
            "representation": representation, "segments": segments, "pieces": self.pieces.flatten().tolist(),
        }


class Less(nn.Module):
    """x - amount."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, x: Tensor) -> Tensor:
        return x - self.amount


def randomised(model: nn.Module, stream: str, seed: int, mode: str, stage: int, stages: int) -> nn.Module:
    """The small CNN with its tensors drawn anew, all or by stages from the output, by the oracle's draws."""
    other = deepcopy(model)
    state = other.state_dict()
    norms = {name for name, module in other.named_modules() if isinstance(module, nn.BatchNorm2d)}
    owners = ["7", "3", "1", "0"]  # linear, convolution, batch norm, convolution
    M = len(owners)
    last = {"all": M}.get(mode, stage * M // stages)
    chosen = owners[(stage - 1) * M // stages if mode == "independent" else 0 : last]
    for name, value in state.items():
        if name.partition(".")[0] not in chosen:
            continue
        if value.ndim >= 2:
            value.copy_(torch.from_numpy(randomise.weights(name, tuple(value.shape), stream, seed)))
        elif name.endswith("running_var") or (name.endswith("weight") and name.rpartition(".")[0] in norms):
            value.fill_(1)
        else:
            value.fill_(0)
    return other


def dyadic(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random multiples of 1/256 in [-1, 1], both ends included: bilinear steps of an eighth stay exact in float32, so
    that ties after resampling are ties in every implementation."""
    maps = torch.randint(-255, 256, shape, generator=generator).float() / 256
    maps[:, 1, 2], maps[:, 2, 1] = 1.0, -1.0
    return maps


@pytest.fixture(scope="session")
def toy() -> Toy:
    generator = torch.Generator().manual_seed(11)
    model = small_cnn()
    raw = torch.rand(3, 3, H, W, generator=generator)
    inputs = (raw - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)
    with torch.no_grad():
        targets = model(inputs).argmax(1)
    targets[2] = (targets[2] + 1) % CLASSES  # a target need not be the prediction
    signed = torch.randn(3, H, W, generator=generator)
    quantised = torch.randint(0, 5, (3, H, W), generator=generator) / 4
    maps = {
        "random": signed,
        "native": dyadic((3, 6, 8), generator),
        "ties": torch.where(torch.rand(3, H, W, generator=generator) < 0.6, torch.zeros(()), quantised),
        "negative": -1 - torch.rand(3, H, W, generator=generator),
        # rounded like `dyadic`, for the same reason
        "explained": (gradient_map(model, Alone(inputs, targets)) * 1024).round() / 1024,
    }
    mask = torch.zeros(3, H, W, dtype=torch.bool)
    mask[0, 3:11, 4:20] = mask[2, 10, 10] = mask[2, 0, 31] = True
    mask[1] = torch.rand(H, W, generator=generator) < 0.4
    cells = torch.zeros(3, H, W, dtype=torch.bool)
    cells[0, :12, :16] = cells[1, 12:, 16:] = cells[2, :12, 16:] = True
    drawn = torch.randint(0, 256, (3, 5, 3, H, W), generator=torch.Generator().manual_seed(12), dtype=torch.uint8)
    own = (raw * 255 + 0.5).floor().to(torch.uint8)[:, None]
    without = torch.where((torch.arange(5).view(5, 1, 1) == PIECES)[:, None], drawn, own)
    truth = {"mask": mask, "cells": cells, "boxes": boxes(), "without": without} | gaze(generator)
    return Toy(model, inputs, targets, maps, truth, (MEAN, STD), gradient_map, small_cnn(4))


def boxes() -> Tensor:
    """Half-open boxes (x0, y0, x1, y1), padded with empty ones: two, one, and one of a single pixel."""
    return torch.tensor([[[4, 3, 20, 11], [22, 15, 30, 23]], [[0, 0, 32, 12], [0] * 4], [[10, 10, 11, 11], [0] * 4]])


def gaze(generator: torch.Generator) -> dict[str, Tensor]:
    """Numbers of fixations per pixel, of this image and of others, and a smooth density of the first."""
    fixations, others = torch.zeros(3, H, W), torch.zeros(3, H, W)
    for counts, n in ((fixations, 25), (others, 60)):
        places = torch.randint(0, H * W, (3, n), generator=generator)
        counts.flatten(1).scatter_add_(1, places, torch.ones(3, n))  # some pixels are looked at twice
    density = nn.functional.avg_pool2d(fixations, 5, 1, 2) + 1 / 128
    return {"density": density, "fixations": fixations, "other-fixations": others}
