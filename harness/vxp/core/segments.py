"""Superpixels and supervoxels: the regions of similar colour that some metrics remove together."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vxp.core import Batch, VxpError

COMPACTNESS = 10.0


def slic(batch: Batch, n: int) -> Tensor:
    """Labels int64 [B, *space], 0, 1, ... of about n SLIC superpixels of each raw image, of a clip supervoxels (Achanta et al.
    2012).

    scikit-image's `slic` with compactness 10, no smoothing, connected regions, on raw pixels in [0, 1]. A library's
    segmentation is not pinned by the standard: the labels are part of what a score was computed from. VxpError where
    scikit-image is not installed.
    """
    try:
        from skimage.segmentation import slic as run
    except ImportError:
        raise VxpError("superpixels need scikit-image: pip install 'vxp[demo]', or leave the metric out") from None
    found = []
    for raw in batch.raw().clamp(0, 1).movedim(1, -1).cpu().double().numpy():
        labels = run(raw, n_segments=n, compactness=COMPACTNESS, start_label=0, channel_axis=-1)
        # consecutive from 0, in the order of their first position
        _, first, inverse = np.unique(labels.ravel(), return_index=True, return_inverse=True)
        found.append(np.argsort(np.argsort(first))[inverse.ravel()].reshape(labels.shape))
    return torch.from_numpy(np.stack(found)).long()
