"""What the score of one frame loses with each fragment."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vxp.core import Batch, VxpError, explainer
from vxp.media import Shortened
from vxp.models import evaluating

from vxp_explainers._fragments import scoring

HIGHEST = -1
"""The frame whose score is highest."""
FRAGMENTS = 10
"""Of the video whose passes are the nominal ones."""


@explainer("fragment-occlusion", signed=True, resample="fragment", target_specific=False, passes=1 + FRAGMENTS,
           family="perturbation", kinds=("temporal",), outputs=("sequence",), explanandum="frame-score",
           source="Zeiler and Fergus 2014, section 4.2, with fragments; held as by Mänttäri et al. 2020")
@torch.no_grad()
def fragment_occlusion(model: nn.Module, batch: Batch, *, fill: str = "hold", frame: int = HIGHEST) -> Tensor:
    """How much the score of one frame drops when a fragment is replaced by the fill: why this frame is in the summary.

    frame is the number of a step that the model looks at, -1 that of the highest score, the first of equal ones. A fragment
    that resembles the frame lowers its score by being there, and has a negative value. The frame's own fragment is replaced
    with it: its value is what the frame's content is worth over what the fill leaves. fill is any that keeps the steps where
    they are; `hold` shows the step before the fragment once more. A video of S fragments takes 1 + S passes, of which 11 for
    ten fragments are the nominal ones. Returns [B, S] float32. Raises VxpError for an unknown fill and for `remove`, for a
    frame that the videos do not have, and for items that are not divided into fragments.
    """
    steps, fragments = batch.space[0], batch.count_of("fragment")
    if not HIGHEST <= frame < steps:
        raise VxpError(f"explainer 'fragment-occlusion': frame is {frame}, expected 0 to {steps - 1}, a step of the videos, or "
                       f"{HIGHEST} for that of the highest score")
    if isinstance(batch.medium.fill(fill), Shortened):
        raise VxpError(f"explainer 'fragment-occlusion': fill is {fill!r}, under which the frame is gone with its fragment and "
                       "has no score; expected a fill that keeps the steps where they are, such as 'hold'")
    # row 0 is the whole video
    removed = torch.eye(fragments + 1, dtype=torch.bool, device=batch.inputs.device)[:, 1:]
    found = []
    with evaluating(model):
        scores = scoring(model, batch, fill)
        for i in range(len(batch)):
            said, _ = scores(i, removed)
            of = said[:, said[0].argmax() if frame == HIGHEST else frame]
            found.append(of[0] - of[1:])
    return torch.stack(found).float()
