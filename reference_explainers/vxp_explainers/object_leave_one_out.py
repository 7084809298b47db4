"""What the scores of a video lose with each object alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import check_one_of
from vxp_explainers._fragments import EXPLANANDA, objects, saying

CLIPS = 4
"""Whole clips that a video with objects takes, where a model looks at every frame by itself."""


@explainer("object-leave-one-out", signed=True, resample="none", target_specific=False, passes=CLIPS, reference=True,
           family="reference", kinds=("regions3d",), outputs=("sequence",), explanandum="explanandum",
           source="VXP 6.4.2; Tsigos et al. 2024, arXiv:2405.10082, section 3.2: the change that its measures look at")
@torch.no_grad()
def object_leave_one_out(
    model: nn.Module, batch: Batch, *, explanandum: str = "rank-order", fill: str = "black",
) -> Tensor:
    """How much the scores of a video change when one object is blanked in all frames that show it.

    `leave-one-out` of the objects of `batch.parts["object"]` in place of fragments: explanandum is `rank-order`, 1 - tau_b
    between the scores of the whole video and those without the object, or `mean-score`, the mean score of the whole less that
    without. fill is any fill of clips that shows something in the object's place. A model that looks at every frame by itself
    sees only the frames that change: of a video of ten shots each object costs a tenth of the frames. Returns regions [B, 2, T,
    H, W] float32. Raises VxpError for an unknown word or fill, and for items without objects.

    It is the ceiling of `object-disc-plus` and `object-disc-minus` of single objects under the same fill.
    """
    check_one_of("object-leave-one-out", "explanandum", explanandum, EXPLANANDA)
    # row 0 is the whole video
    removed = torch.eye(batch.count_of("object") + 1, dtype=torch.bool, device=batch.inputs.device)[:, 1:]
    with evaluating(model):
        say = saying(model, batch, fill, explanandum, "object")
        said = torch.stack([say(i, removed) for i in range(len(batch))])
    return objects(batch, (said[:, :1] - said[:, 1:]).float())
