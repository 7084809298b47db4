"""A linear model of the objects of one shot at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._coalitions import all_or_tossed, check_fit, coefficients
from vxp_explainers._common import check_one_of
from vxp_explainers._fragments import EXPLANANDA, objects, saying

PURPOSE = "object-lime@1"


def _passes(*, samples: int, kernel_width: float, ridge: float, explanandum: str, fill: str) -> int:
    return samples


@explainer("object-lime", signed=True, resample="none", target_specific=False, passes=_passes, family="perturbation",
           kinds=("regions3d",), outputs=("sequence",), explanandum="explanandum",
           source="Tsigos et al. 2024, arXiv:2405.10082, section 3.2; Ribeiro et al. 2016, eq. 2 and section 3.4")
@torch.no_grad()
def object_lime(
    model: nn.Module, batch: Batch, *, samples: int = 32, kernel_width: float = 0.25, ridge: float = 1.0,
    explanandum: str = "rank-order", fill: str = "black",
) -> Tensor:
    """The coefficients of a weighted ridge regression, shot by shot, on which objects of a shot are kept, of what the scores of
    the video then are.

    The objects are those of `batch.parts["object"]`; those of a shot are the ones whose first frame lies in it, and the objects
    of other shots are kept. An object that goes is blanked in all frames that show it. explanandum is what is regressed, as of
    `fragment-lime`: `rank-order`, tau_b with the scores of the whole video, or `mean-score`. Where a shot has so few objects
    that 2^K <= samples, all coalitions are asked; else each object is kept with probability 1/2 in all samples but the first,
    drawn per item and shot. A model that looks at every frame by itself sees only the frames that change, so all shots together
    cost `samples` passes at most. Returns regions [B, 2, T, H, W] float32. Raises VxpError for unknown words, samples below 1,
    a kernel_width that is not positive, a negative ridge, and items without objects or shots.

    Departs from the authors: 32 samples a shot in place of 2,000 a keyframe, of all shots in place of the three most relevant
    ones, so that all objects of a video have a score; the scores of the whole video in place of the shot's mean; any label map
    in place of a panoptic segmentation.
    """
    check_fit("object-lime", samples, kernel_width, ridge)
    check_one_of("object-lime", "explanandum", explanandum, EXPLANANDA)
    K, shots = batch.count_of("object"), batch.parts_of("fragment")
    found = torch.zeros(len(batch), K, dtype=torch.float64, device=batch.inputs.device)
    with evaluating(model):
        say = saying(model, batch, fill, explanandum, "object")
        for i in range(len(batch)):
            of = _shot_of(batch, i, K, shots[i])
            for shot in of.unique().tolist():
                own = (of == shot).nonzero().flatten()
                kept = all_or_tossed(batch, i, f"{PURPOSE}/{shot}", samples, len(own))
                removed = torch.zeros(len(kept), K, dtype=torch.bool, device=own.device)
                removed[:, own] = ~kept
                found[i, own] = coefficients(kept, say(i, removed), kernel_width, ridge)
    return objects(batch, found)


def _shot_of(batch: Batch, i: int, K: int, shots: Tensor) -> Tensor:
    """int64 [K]: the shot of the first frame that shows each object of an item."""
    frames = batch.parts_of("object")[i].view(batch.space[0], -1)
    seen = torch.stack([(frames == k).any(1) for k in range(K)])
    return shots[seen.int().argmax(1)]
