"""Images [B, C, H, W] and their fills (clause [fills])."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vxp import random
from vxp.imputation import NLI_NOISE, nli
from vxp.machine import sent
from vxp.media import _fills
from vxp.media._types import Imputed, Items, Medium, Painted, by_id

RISE_WIDTH, RISE_SIGMA = 11, 5.0


def _image_mean(batch: Items) -> Tensor:
    """Each channel's mean over the item's own raw pixels."""
    # summed in float64, so that the mean does not depend on the order of summation
    return batch.inputs.double().mean((2, 3), keepdim=True).to(batch.inputs.dtype).expand_as(batch.inputs)


def _blur(batch: Items) -> Tensor:
    raw = batch.raw()
    smooth = _fills.blurred(raw)
    return batch.inputs if smooth is raw else batch.to_inputs(smooth)


def _rise_blur(batch: Items) -> Tensor:
    """A delta of 11x11 diffused by sigma 5 (Petsiuk et al. 2018, published script), applied in the input space with zero
    padding."""
    from scipy.ndimage import gaussian_filter  # not above: every command would wait for it

    delta = np.zeros((RISE_WIDTH, RISE_WIDTH))
    delta[RISE_WIDTH // 2, RISE_WIDTH // 2] = 1
    kernel = sent(torch.from_numpy(gaussian_filter(delta, RISE_SIGMA)).to(batch.inputs.dtype), batch.inputs.device)
    C = batch.inputs.shape[1]
    return F.conv2d(batch.inputs, kernel.expand(C, 1, -1, -1), padding=RISE_WIDTH // 2, groups=C)


def _imputed(batch: Items, items: Tensor, removed: Tensor) -> Tensor:
    """Noisy linear imputation (ROAD): all rows share one batched solve."""
    image = batch.inputs[items]
    noise = torch.zeros(*image.shape[:2], batch.positions, device=image.device)
    for n, (i, size) in enumerate(zip(items.tolist(), removed.sum(1).tolist(), strict=True)):
        if size < batch.positions:  # of what is known nowhere, the mean itself
            key = random.key(batch.seed, batch.ids[i], "nli@1", "noise")
            if image.device.type == "cpu":  # drawn where it is needed only; a GPU would wait to know where that is
                at = removed[n].nonzero()[:, 0]
                noise[n, :, at] = random.normals(key, size, at, image.shape[1])
            else:
                noise[n] = random.normals(key, size, batch.positions, image.shape[1], device=image.device)
    gone = removed.view(-1, 1, *batch.space)
    smooth = nli(batch.to_raw(image), gone[:, 0], mean=batch.normalization.mean)
    noisy = batch.to_inputs(smooth + NLI_NOISE * noise.view_as(smooth))
    # known pixels are copied, not sent through raw space and back: rounding must not touch them
    return torch.where(gone, noisy, image)


IMAGE = Medium("image", ("y", "x"), by_id(
    Painted("black", _fills.black), Painted("mean", _fills.mean), Painted("blur", _blur), Painted("noise", _fills.noise),
    Imputed("nli", _imputed, whole="mean"), Painted("image-mean", _image_mean), Painted("rise-blur", _rise_blur)))

__all__ = ["IMAGE"]
