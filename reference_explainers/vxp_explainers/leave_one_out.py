"""What the scores of a video lose with each fragment alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import check_one_of
from vxp_explainers._fragments import EXPLANANDA, saying

FRAGMENTS = 10
"""Of the video whose passes are the nominal ones."""


@explainer("leave-one-out", signed=True, resample="fragment", target_specific=False, passes=1 + FRAGMENTS,
           reference=True, family="reference", kinds=("temporal",), outputs=("sequence",), explanandum="explanandum",
           source="VXP 6.4.2; Apostolidis et al. 2022 (ISM), section 3.3: the change that its measures look at")
@torch.no_grad()
def leave_one_out(
    model: nn.Module, batch: Batch, *, explanandum: str = "rank-order", fill: str = "zero",
) -> Tensor:
    """How much the scores of a video change when one fragment is removed.

    explanandum is `rank-order`, 1 - tau_b between the scores of the whole video and those without the fragment, in [0, 2]; or
    `mean-score`, the mean score of the whole less that without, negative where a fragment lowers the scores of the others. fill
    is any fill of sequences, of which `remove` leaves the steps out and compares those that are left. A video of S fragments
    takes 1 + S passes, of which 11 for ten fragments are the nominal ones. Returns [B, S] float32. Raises VxpError for an
    unknown word or fill, and for items that are not divided into fragments.

    It is the ceiling of metrics that remove one fragment at a time and read the same explanandum under the same fill, as
    `disc-plus-2022` does at the defaults: they ask what it answers. It is no ceiling where several go together, since two
    fragments of the same footage stand in for each other, and each alone is not missed.
    """
    check_one_of("leave-one-out", "explanandum", explanandum, EXPLANANDA)
    fragments = batch.count_of("fragment")
    # row 0 is the whole video
    removed = torch.eye(fragments + 1, dtype=torch.bool, device=batch.inputs.device)[:, 1:]
    with evaluating(model):
        say = saying(model, batch, fill, explanandum)
        said = torch.stack([say(i, removed) for i in range(len(batch))])
    return (said[:, :1] - said[:, 1:]).float()
