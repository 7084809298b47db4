"""Clips and calls that the tests of explainers of clips share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from vxp.core import Batch, Normalization
from vxp.explainers import bind

NORMALIZATION = Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
SPACE = (4, 8, 12)
QUICK: dict[str, dict[str, Any]] = {
    "st-occlusion": {"window": 112, "stride": 56}, "rise": {"masks": 70, "cells": 3},
    "lime": {"samples": 40, "superpixels": 27, "regions": "grid"},
    "kernel-shap": {"samples": 41, "superpixels": 27, "regions": "grid"},
    "extremal-perturbation": {"steps": 4, "smooth": 1.0, "grid": 4}, "integrated-gradients": {"steps": 4},
    "smoothgrad": {"samples": 3},
}


def made(n: int = 2, space: tuple[int, ...] = SPACE, seed: int = 0) -> Batch:
    raw = torch.rand(n, 3, *space, generator=torch.Generator().manual_seed(5))
    return Batch(tuple(f"clip-{i}" for i in range(n)), NORMALIZATION.to_inputs(raw, 3), torch.arange(n) % 3, NORMALIZATION,
                 seed)


def maps(name: str, model: nn.Module, batch: Batch, **parameters: Any) -> Tensor:
    return bind(name, {**QUICK.get(name, {}), **parameters})(model.eval(), batch)


def close(got: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(got, expected.float(), rtol=tolerance, atol=tolerance * float(expected.abs().max()))
