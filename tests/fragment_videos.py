"""Small videos of features with their fragments, models that score their frames, and what the oracles say of them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from oracles import implementation
from torch import Tensor, nn
from vxp.core import Batch, Case, Normalization, Outcome
from vxp.engine import Engine, Job
from vxp.metrics import bind, bind_all, catalogue

D = 3
FRAGMENTS = {
    "eight": [2, 3, 1, 4, 2, 2, 3, 1], "four": [3, 3, 3, 3], "three": [1, 4, 2], "two": [3, 2], "one": [5], "frames": [1] * 7}
"""Lengths of the fragments of a video."""


class Attends(nn.Module):
    """A small summariser in which every frame sees all others: one layer of attention, of any length."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.q, self.k, self.v, self.out = (nn.Linear(D, 4), nn.Linear(D, 4), nn.Linear(D, 4), nn.Linear(4, 1))
        with torch.no_grad():
            for p in self.parameters():
                p.normal_(0.0, 1.0, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        attention = (self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1)
        return self.out(torch.tanh(attention @ self.v(x) - self.v(x)))[..., 0].sigmoid()


class Exact(nn.Module):
    """Scores in eighths, so that they tie for everybody: twice a feature of the frame, and one of the frame before it."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x[..., 0] + nn.functional.pad(x[..., 1], (1, 0))[:, :-1]


MODELS = {"attends": Attends, "exact": Exact}


def parts(lengths: Sequence[int]) -> Tensor:
    return torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))


def videos(lengths: Sequence[int], levels: bool, items: int = 3, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    inputs = 2 * torch.rand(items, D, sum(lengths), generator=generator) - 1
    of = parts(lengths)
    return Batch(tuple("abcdef"[:items]), (inputs * 4).round() / 8 if levels else inputs, torch.full((items,), -1),
                 Normalization((0.0,), (1.0,)), 7, parts={"fragment": of.expand(items, len(of))})


def maps(batch: Batch, unit: str, seed: int = 1) -> Tensor:
    """Scores of parts: few values, so that there are ties; random ones; and one value everywhere."""
    K = batch.space[0] if unit == "frame" else int(batch.parts[unit].max()) + 1
    generator = torch.Generator().manual_seed(seed)
    found = torch.stack([torch.randint(-2, 3, (K,), generator=generator) / 2, torch.randn(K, generator=generator),
                         torch.full((K,), 0.3)])
    return found[: len(batch)]


def scored(model: nn.Module, case: Case, *names: str | tuple[str, dict[str, Any]], size: int = 16) -> dict[str, Outcome]:
    return Engine(model, size).score(Job(case, bind_all(names)))


def expected(model: nn.Module, name: str, parameters: dict[str, Any], case: Case, i: int) -> tuple[str, float | None]:
    """Status and score of item i by the oracle."""
    precise, batch = deepcopy(model).double(), case.batch

    def said(item: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = precise(torch.from_numpy(item)[None])[0].numpy()
        return found

    of = batch.parts_of("fragment")[i]
    values = case.native[i] if case.resample == "frame" else case.native[i][of]
    sample = {"model": said, "image": batch.inputs[i].double().numpy(), "attribution": values.numpy(), "parts": of.tolist(),
              "target": int(batch.targets[i]), "labels": [label for label in batch.known_labels()[i].tolist() if label >= 0]}
    asked = {"metric": name, "level": "sample", "undefined": list(catalogue()[name].undefined), "parameters": parameters}
    answer = implementation.score(asked, [sample])
    return answer["status"][0], answer["values"][0]


def same(model: nn.Module, case: Case, name: str, variants: Sequence[dict[str, Any]]) -> None:
    for variant in variants:
        wanted = bind((name, variant))
        found = scored(model, case, (name, variant))[wanted.signature]
        for i in range(len(case.batch)):
            status, value = expected(model, name, dict(wanted.parameters), case, i)
            assert found.status[i] == status, (wanted.signature, i)
            assert value is None or float(found.values[i]) == pytest.approx(value, abs=1e-6), (wanted.signature, i)


def variants(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = implementation.module_of(name).VARIANTS
    return found
