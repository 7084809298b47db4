"""ROAD's imputation against the published procedure."""

from __future__ import annotations

import statistics
from functools import partial

import numpy as np
import torch
from scipy.sparse import csc_matrix, lil_matrix
from scipy.sparse.linalg import spsolve
from torch import nn

from vxp.bench.measure import Line, paired, photo_like, seconds
from vxp.imputation import nli


def imputation(device: str) -> list[Line]:
    """ROAD's imputation against the published procedure: sparse assembly and a direct solve, per image on one thread."""
    batch = photo_like((224, 224), 1, device)
    order = torch.randn(1, 24, 24, generator=torch.Generator().manual_seed(3))
    ranks = nn.functional.interpolate(order[None], size=(224, 224), mode="bicubic")[0].flatten().argsort()
    lines = []
    group = "ROAD's imputation, one 224x224 image, top-ranked regions of a smooth map"
    for rate, goal in ((10, ""), (50, ">= 3"), (90, ">= 3")):
        removed = torch.zeros(224 * 224, dtype=torch.bool)
        removed[ranks[: 224 * 224 * rate // 100]] = True
        gone = removed.view(1, 224, 224).to(device)
        raw = batch.raw()
        mean = batch.normalization.mean
        ours = nli(raw, gone, mean=mean)
        direct = direct_imputation(raw[0].cpu().numpy(), removed.view(224, 224).numpy())
        error = float(np.abs(ours[0].cpu().numpy() - direct).max())
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        solve = partial(nli, raw, gone, mean=mean)
        published = partial(direct_imputation, raw[0].cpu().numpy(), removed.view(224, 224).numpy())
        ratio, _ = paired(solve, published, device, pairs=3)
        took = statistics.median(seconds(solve, device) for _ in range(5))
        torch.set_num_threads(before)
        lines.append(Line(group, f"{rate} % removed: times faster than published", 1 / ratio, "x", goal,
                          f"{1000 * took:.1f} ms, largest difference {error:.1e} (goal <= 1e-4)"))
    return lines


NEIGHBOURS = ((0, 1, 1 / 6), (0, -1, 1 / 6), (1, 0, 1 / 6), (-1, 0, 1 / 6),
              (1, 1, 1 / 12), (1, -1, 1 / 12), (-1, 1, 1 / 12), (-1, -1, 1 / 12))
"""ROAD's weights: direct neighbours 1/6, diagonal ones 1/12 (Rong et al. 2022)."""


def direct_imputation(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """The published way: a list-of-lists sparse matrix filled one neighbour at a time, solved directly (noise off)."""
    H, W = removed.shape
    unknown = np.flatnonzero(removed)
    place = np.full(H * W, -1)
    place[unknown] = np.arange(len(unknown))
    matrix = lil_matrix((len(unknown), len(unknown)))
    right, weights = np.zeros((len(unknown), len(image))), np.zeros(len(unknown))
    for down, across, weight in NEIGHBOURS:
        row, column = unknown // W + down, unknown % W + across
        inside = (row >= 0) & (row < H) & (column >= 0) & (column < W)
        here, there = np.flatnonzero(inside), row[inside] * W + column[inside]
        weights[here] += weight
        known = ~removed.ravel()[there]
        right[here[known]] += weight * image.reshape(len(image), -1)[:, there[known]].T
        matrix[here[~known], place[there[~known]]] = -weight
    matrix[np.arange(len(unknown)), np.arange(len(unknown))] = weights
    filled = image.reshape(len(image), -1).copy()
    filled[:, unknown] = spsolve(csc_matrix(matrix), right).T.reshape(len(image), -1)
    return filled.reshape(image.shape)
