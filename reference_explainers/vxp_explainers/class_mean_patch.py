"""Prototypes without a network: what the patches of a class look like in the mean, looked for in the pixels."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp.core import Batch, VxpError, explainer
from vxp.datasets import figures
from vxp.models.protopnet import WINDOW, patches, similarity

from vxp_explainers._prototypes import KINDS, SIDE


@explainer("class-mean-patch", signed=False, resample="none", passes=0, family="prototype", kinds=KINDS,
           source="VXP: template matching, which knows the data and no network")
def class_mean_patch(model: nn.Module, batch: Batch) -> Tensor:
    """One prototype for every class, the mean of the patches of pixels that the prototypes of the class were made of, and how
    like it the window around the middle of every cell of a grid of 16 x 16 is.

    The similarity is log((d + 1)/(d + 1e-4)) of the mean squared difference d of raw pixels, zeros beyond the border. It uses
    the data and no network: a network whose prototypes are no more consistent than that has learned nothing of parts. The
    patches are those of the model figures-protopnet, whatever the model is, and the model is not called. Returns [B, 1, 16,
    16] float32, at least 0. Raises VxpError for a class that is none of `figures`.
    """
    means, (H, W), low = _means().to(batch.inputs.device), batch.space, WINDOW // 2
    padded = F.pad(batch.raw().double(), (low, WINDOW - 1 - low, low, WINDOW - 1 - low))
    found = []
    for image, target in zip(padded, batch.targets.tolist(), strict=True):
        if target >= len(means):
            raise VxpError(f"explainer 'class-mean-patch' knows the {len(means)} classes of figures, got class {target}: take "
                           "the task figures-prototypes, or leave it out")
        mean = means[target]
        # of |window - mean|^2 in three terms
        squares = F.conv2d(image.square()[None], torch.ones_like(mean)[None])
        crossed = F.conv2d(image[None], mean[None])
        d = (squares - 2 * crossed + mean.square().sum()) / mean.numel()
        rows, columns = ((2 * torch.arange(SIDE, device=d.device) + 1) * N // (2 * SIDE) for N in (H, W))
        found.append(similarity(d.clamp_min(0))[0][:, rows][..., columns])
    return torch.stack(found).float()


@cache
def _means() -> Tensor:
    """The mean patch float64 [classes, 3, WINDOW, WINDOW] of every class, raw; zeros beyond the border."""
    found = torch.zeros(len(figures.CLASSES), 3, WINDOW, WINDOW, dtype=torch.float64)
    known = patches()
    for patch in known:
        image = torch.from_numpy(figures.render(patch.seed, patch.figure).image).double() / 255
        left, top, _, _ = patch.box
        around = F.pad(image, (WINDOW, WINDOW, WINDOW, WINDOW))
        found[patch.figure] += around[:, top + WINDOW : top + 2 * WINDOW, left + WINDOW : left + 2 * WINDOW]
    counts = torch.tensor([sum(patch.figure == c for patch in known) for c in range(len(found))])
    return found / counts.view(-1, 1, 1, 1)
