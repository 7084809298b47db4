"""What happens when a frame is held."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, explainer
from vxp.models import evaluating

from vxp_explainers._common import READOUTS, check_one_of
from vxp_explainers._removal import saying

FRAMES = 16
"""Of the clip whose passes are the nominal ones."""


@explainer("frame-occlusion", signed=True, resample="frames", passes=1 + FRAMES, family="perturbation", kinds=("heatmap3d",),
           source="Zeiler and Fergus 2014, section 4.2, with frames; held as by Mänttäri et al. 2020")
@torch.no_grad()
def frame_occlusion(
    model: nn.Module, batch: Batch, *, fill: str = "hold", readout: str = "probability",
) -> Tensor:
    """How much the target's probability drops when one frame is replaced by the fill.

    The fill `hold` shows the frame before once more (the first frame shows the second); any fill of clips will do. readout is
    probability or logit. A clip of T frames takes 1 + T passes, of which 17 for 16 frames are the nominal ones. Returns
    [B, T, 1, 1] float32, one value for all of a frame. Raises VxpError for an unknown fill or readout.

    A frame that looks like its neighbours can be held and not be missed, though the model needs one of them: `frame-shapley`
    asks what it adds to any others.
    """
    check_one_of("frame-occlusion", "readout", readout, READOUTS)
    frames = batch.space[0]
    # row 0 is the whole clip
    removed = torch.eye(frames + 1, dtype=torch.bool, device=batch.inputs.device)[:, 1:, None, None]
    with evaluating(model):
        say = saying(model, batch, fill, readout)
        said = torch.stack([say(i, removed) for i in range(len(batch))])
    return (said[:, :1] - said[:, 1:]).float()[:, :, None, None]
