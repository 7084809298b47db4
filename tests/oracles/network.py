"""The tiny models of the vectors: a list of operations in NumPy, float64."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Weights = Mapping[str, np.ndarray]


def forward(image: np.ndarray, operations: Sequence[Mapping[str, Any]], weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Logits [K] of an image [C, H, W] or a clip [C, T, H, W], or scores [n] of a sequence [C, n]; and the representation: the
    input of the last linear operation."""
    x, representation = image.astype(np.float64), np.zeros(0)
    for operation in operations:
        if operation["op"] == "linear":
            representation = x
        x = OPERATIONS[operation["op"]](x, operation, weights)
    return x, representation


def convolution(x: np.ndarray, operation: Mapping[str, Any], weights: Weights) -> np.ndarray:
    """Cross-correlation with zero padding, over one axis, two or three: weight [O, C, k, ...], bias [O]."""
    axes = range(1, x.ndim)
    pad, steps = operation["padding"], [slice(None, None, operation["stride"])] * len(axes)
    weight = weights[operation["weight"]].astype(np.float64)
    windows = sliding_window_view(np.pad(x, ((0, 0), *[(pad, pad)] * len(axes))), weight.shape[2:], axis=tuple(axes))
    summed = [1, *(a + 1 for a in axes)], [0, *(a + len(axes) for a in axes)]
    found = np.tensordot(weight, windows[(slice(None), *steps)], axes=summed)
    return np.asarray(found + weights[operation["bias"]].astype(np.float64).reshape(-1, *[1] * len(axes)))


def average_pool(x: np.ndarray, operation: Mapping[str, Any], weights: Weights) -> np.ndarray:
    """Means over a grid of equal blocks, rows x columns, of a clip frames x rows x columns; the size must be a multiple."""
    blocks = [part for size, n in zip(x.shape[1:], operation["grid"], strict=True) for part in (n, size // n)]
    return np.asarray(x.reshape(len(x), *blocks).mean(tuple(range(2, len(blocks) + 1, 2))))


def linear(x: np.ndarray, operation: Mapping[str, Any], weights: Weights) -> np.ndarray:
    return np.asarray(weights[operation["weight"]].astype(np.float64) @ x + weights[operation["bias"]].astype(np.float64))


OPERATIONS: dict[str, Any] = {
    "conv1d": convolution, "conv2d": convolution, "conv3d": convolution, "average-pool": average_pool, "linear": linear,
    "centre": lambda x, operation, weights: x - x.mean(-1, keepdims=True),
    "tanh": lambda x, operation, weights: np.tanh(x),
    "flatten": lambda x, operation, weights: x.ravel(),
}
